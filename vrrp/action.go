package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Reason is a stable slug that says why a state was entered.
type Reason string

// The reasons.
const (
	ReasonStartup      Reason = "startup"       // to Backup: the interface became usable
	ReasonOwner        Reason = "owner"         // to Active: priority 255
	ReasonNoActive     Reason = "no-active"     // to Active: the Active was not heard for Active_Down_Interval
	ReasonFarewell     Reason = "farewell"      // to Active: the Active said that it leaves
	ReasonPreempt      Reason = "preempt"       // to Active: the Active has a lower priority
	ReasonOffered      Reason = "offered"       // to Active: the Active asked this router to take over
	ReasonBetterActive Reason = "better-active" // to Backup: another Active has a higher priority, or the same and a higher address
	ReasonHandedOver   Reason = "handed-over"   // to Backup: the successor of a handover advertises
	ReasonShutdown     Reason = "shutdown"      // to Initialize: the interface is not usable, or the gateway is no longer wanted
	ReasonFault        Reason = "fault"         // to Initialize: the priority is 0
)

// Action is something a Machine wants done. It is one of the types of this file.
type Action interface{ String() string }

// SendAdvertisement is to send an advertisement with this priority, to the group or to one router.
type SendAdvertisement struct {
	Priority uint8
	To       netip.Addr // zero: to everybody
}

// SendHello is to tell the other members' routers, one by one, that this one is there: they may not know at which address to advertise to it.
type SendHello struct{}

// SendGratuitous is to announce the addresses: gratuitous ARP (RFC 9568, 6.4.2) or unsolicited neighbour
// advertisements (8.2.4), one for each address. The machine asks for repeats itself.
type SendGratuitous struct{}

// AcceptAddresses is to have the addresses and the virtual MAC on this host: to forward what is sent to the MAC, and to
// answer ARP or ND. It comes before the advertisement that tells others, and again when the addresses change.
type AcceptAddresses struct{}

// ReleaseAddresses is the opposite. For Linger longer, frames to the virtual MAC are still forwarded, but nothing is
// to be sent from it that can be helped.
type ReleaseAddresses struct{ Linger time.Duration }

// Transition tells that the state has changed.
type Transition struct {
	From, To State
	Reason   Reason
}

// Conflict tells that another router claims to be Active while this one is and has precedence, or no longer does.
type Conflict struct {
	Source   netip.Addr
	Priority uint8
	Ended    bool
}

// HandoverEnded tells how a handover went: to whom, which need not be who was asked, or that nobody answered and this router stays Active.
type HandoverEnded struct {
	To   netip.Addr
	Done bool
}

func (a SendAdvertisement) String() string {
	if a.To.IsValid() {
		return fmt.Sprintf("advertise %d to %s", a.Priority, a.To)
	}
	return fmt.Sprintf("advertise %d", a.Priority)
}

func (SendHello) String() string { return "hello" }

func (SendGratuitous) String() string { return "announce" }

func (AcceptAddresses) String() string { return "accept" }

func (a ReleaseAddresses) String() string {
	if a.Linger > 0 {
		return "release after " + a.Linger.String()
	}
	return "release"
}

func (a Transition) String() string { return fmt.Sprintf("%s -> %s (%s)", a.From, a.To, a.Reason) }

func (a Conflict) String() string {
	if a.Ended {
		return fmt.Sprintf("conflict with %s over", a.Source)
	}
	return fmt.Sprintf("conflict with %s priority %d", a.Source, a.Priority)
}

func (a HandoverEnded) String() string {
	if !a.Done {
		return "handover failed"
	}
	return "handed over to " + a.To.String()
}
