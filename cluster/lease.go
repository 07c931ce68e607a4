package cluster

import "time"

// leaseRow is the lease as it stands in the database.
type leaseRow struct {
	holder string
	term   uint64
	beat   uint64
}

// The times of a lease, each on the clock of the one who measures it. The holder stops well before a challenger may take over, so that there
// are never two, however the clocks differ in rate by less than 2:1.
const (
	leaseRenew = 2 * time.Second  // holder: between renewals
	leaseStop  = 6 * time.Second  // holder: after the start of the last renewal that succeeded, its work ends
	leaseTake  = 12 * time.Second // challenger: after the beat stood still for so long, the lease is taken
	leaseLook  = 2 * time.Second  // challenger: between looks
)

// leaseAction is what the lease machine wants done.
type leaseAction int

const (
	leaseNothing leaseAction = iota
	leaseRead                // read the row, then call saw
	leaseClaim               // make the row (self, term+1, 1) if it is still as last seen, then call saw with what it is now
	leaseBeat                // raise the beat if the row is still (self, term), then call saw with what it is now
	leaseQuit                // end the work at once
)

// lease is the state of one candidate. It has no clock and does no I/O: the driver feeds it times and rows and does what it says.
type lease struct {
	self   string
	known  bool // row has been read at all
	row    leaseRow
	moved  time.Time // challenger: since when row has been as it is
	leads  bool
	good   time.Time // holder: start of the last renewal that succeeded
	look   time.Time // when to ask the database next
	failed bool      // the last question to the database was not answered
}

// deadline is when the machine wants expire to be called.
func (l *lease) deadline() time.Time {
	if l.leads && l.good.Add(leaseStop).Before(l.look) {
		return l.good.Add(leaseStop)
	}
	return l.look
}

// expire says what to do now.
func (l *lease) expire(now time.Time) leaseAction {
	switch {
	case l.leads && now.Sub(l.good) >= leaseStop:
		l.leads, l.known = false, false // after that, whoever has it by now is watched from the start
		l.look = now
		return leaseQuit
	case now.Before(l.look):
		return leaseNothing
	case l.leads:
		l.look = now.Add(leaseRenew)
		return leaseBeat
	case l.known && !l.failed && (l.row.holder == "" || l.row.holder == l.self || now.Sub(l.moved) >= leaseTake):
		// Held by this member without leading: it did in an earlier life, or the answer to its claim was lost.
		l.look = now.Add(leaseLook)
		return leaseClaim
	}
	l.look = now.Add(leaseLook)
	return leaseRead
}

// saw takes in the row as the action that was begun at a time has left it. It tells whether the work must begin or end.
func (l *lease) saw(begun, now time.Time, row leaseRow, action leaseAction) (begin, end bool) {
	l.failed = false
	if !l.known || row != l.row {
		l.row, l.moved, l.known = row, now, true
	}
	mine := row.holder == l.self
	switch {
	case action == leaseClaim && mine && !l.leads:
		l.leads, l.good, l.look = true, begun, begun.Add(leaseRenew)
		return true, false
	case action == leaseBeat && mine && l.leads:
		l.good = begun
	case l.leads && !mine:
		l.leads = false
		return false, true
	}
	if row.holder == "" || mine && !l.leads {
		l.look = now // there for the taking
	}
	return false, false
}

// missed takes in that the database did not answer.
func (l *lease) missed(now time.Time) {
	const again = 500 * time.Millisecond
	l.failed, l.look = true, now.Add(again)
}
