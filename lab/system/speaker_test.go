package system

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"netfabric/lab/probe"
)

// speakerWord starts a bare speaker; its AS number, its address and its peers, of AS 65000, follow.
const speakerWord = "system-speaker"

// bareSpeaker is GoBGP with nothing of ours: what a route takes from it to a peer can't be done in less. It reads lines of "add PREFIX" and "del
// PREFIX", and answers each with the time at which it began.
func bareSpeaker(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	var asn uint32
	if _, err := fmt.Sscan(args[0], &asn); err != nil {
		return err
	}
	s := server.NewBgpServer()
	go s.Serve()
	if err := s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: asn, RouterId: args[1], ListenPort: -1}}); err != nil {
		return err
	}
	for _, address := range args[2:] {
		err := s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
			Conf:   &api.PeerConf{NeighborAddress: address, PeerAsn: 65000},
			Timers: &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, IdleHoldTimeAfterReset: 1, HoldTime: 9, KeepaliveInterval: 3}},
		}})
		if err != nil {
			return err
		}
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		verb, text, _ := strings.Cut(lines.Text(), " ")
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		path, err := barePath(prefix)
		if err != nil {
			return err
		}
		at := probe.Now()
		if verb == "add" {
			_, err = s.AddPath(ctx, &api.AddPathRequest{Path: path})
		} else {
			err = s.DeletePath(ctx, &api.DeletePathRequest{Path: path})
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, int64(at))
	}
	return nil
}

func barePath(p netip.Prefix) (*api.Path, error) {
	path := &api.Path{Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}}
	var err error
	if path.Nlri, err = anypb.New(&api.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())}); err != nil {
		return nil, err
	}
	for _, m := range []proto.Message{&api.OriginAttribute{}, &api.NextHopAttribute{NextHop: "0.0.0.0"}} {
		a, err := anypb.New(m)
		if err != nil {
			return nil, err
		}
		path.Pattrs = append(path.Pattrs, a)
	}
	return path, nil
}

// bare is a bare speaker that runs in a node.
type bare struct {
	b       *testing.B
	in      io.Writer
	answers chan time.Duration
}

func (w *world) startBare(b *testing.B, node string, args ...string) *bare {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := w.lab.MustNode(b, node).Command(b.Context(), append([]string{self, speakerWord}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = io.Discard // GoBGP's log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &bare{b, in, make(chan time.Duration, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.answers)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var at int64
			if _, err := fmt.Sscan(lines.Text(), &at); err == nil {
				s.answers <- time.Duration(at)
			}
		}
	}()
	b.Cleanup(func() {
		in.Close()
		<-done
		_ = cmd.Wait() // it ends with its input
	})
	return s
}

// set announces a prefix or withdraws it, and tells when that began.
func (s *bare) set(prefix string, there bool) time.Duration {
	s.b.Helper()
	verb := "del"
	if there {
		verb = "add"
	}
	fmt.Fprintln(s.in, verb, prefix)
	at, ok := <-s.answers
	if !ok {
		s.b.Fatal("the bare speaker has ended")
	}
	return at
}
