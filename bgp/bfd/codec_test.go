package bfd

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// plain is a packet of a session that is Up.
var plain = Packet{State: Up, Multiplier: 3, MyDiscr: 0x01020304, YourDiscr: 0x05060708, MinTx: 50 * time.Millisecond, MinRx: 60 * time.Millisecond}

// plainBytes is the same by hand.
var plainBytes = []byte{
	0x20, 0xc0, 3, 24,
	1, 2, 3, 4,
	5, 6, 7, 8,
	0, 0, 0xc3, 0x50,
	0, 0, 0xea, 0x60,
	0, 0, 0, 0,
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Packet, []byte)
	}{
		{"plain", func(*Packet, []byte) {}},
		{"diag", func(p *Packet, b []byte) { p.Diag, b[0] = DiagAdminDown, 0x27 }},
		{"state", func(p *Packet, b []byte) { p.State, b[1] = Down, 0x40 }},
		{"poll", func(p *Packet, b []byte) { p.Poll, b[1] = true, 0xe0 }},
		{"final", func(p *Packet, b []byte) { p.Final, b[1] = true, 0xd0 }},
		{"independent", func(p *Packet, b []byte) { p.ControlPlaneIndependent, b[1] = true, 0xc8 }},
		{"demand", func(p *Packet, b []byte) { p.Demand, b[1] = true, 0xc2 }},
		{"echo", func(p *Packet, b []byte) { p.MinEchoRx, b[23] = 9*time.Microsecond, 9 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, want := plain, bytes.Clone(plainBytes)
			c.change(&p, want)
			if got := p.Append([]byte("x")); !bytes.Equal(got[1:], want) || got[0] != 'x' {
				t.Errorf("got %x, want %x", got[1:], want)
			}
			if got, err := Parse(want); err != nil || got != p {
				t.Errorf("parsed %v, %v, want %v", got, err, p)
			}
		})
	}
}

// malformed are packets that Parse must refuse: each is plain but for one thing.
var malformed = []struct {
	name   string
	change func([]byte) []byte
	want   Discard
}{
	{"empty", func(b []byte) []byte { return nil }, DiscardShort},
	{"one byte less", func(b []byte) []byte { return b[:23] }, DiscardShort},
	{"version 0", func(b []byte) []byte { b[0] = 0x00; return b }, DiscardVersion},
	{"version 2", func(b []byte) []byte { b[0] = 0x40; return b }, DiscardVersion},
	{"length below the minimum", func(b []byte) []byte { b[3] = 23; return b }, DiscardLength},
	{"length beyond the datagram", func(b []byte) []byte { b[3] = 25; return b }, DiscardLength},
	{"length without authentication section", func(b []byte) []byte { b[1] |= 0x04; return append(b, 0, 0) }, DiscardLength},
	{"multiplier 0", func(b []byte) []byte { b[2] = 0; return b }, DiscardMultiplier},
	{"multipoint", func(b []byte) []byte { b[1] |= 0x01; return b }, DiscardMultipoint},
	{"my discriminator 0", func(b []byte) []byte { clear(b[4:8]); return b }, DiscardMyDiscr},
	{"your discriminator 0 while up", func(b []byte) []byte { clear(b[8:12]); return b }, DiscardYourDiscr},
	{"your discriminator 0 in init", func(b []byte) []byte { clear(b[8:12]); b[1] = 0x80; return b }, DiscardYourDiscr},
	{"authenticated", func(b []byte) []byte { b[1] |= 0x04; b[3] = 26; return append(b, 1, 2) }, DiscardAuthentication},
}

func TestParseRefuses(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			if p, err := Parse(c.change(bytes.Clone(plainBytes))); err != c.want {
				t.Errorf("got %v, %v, want %v", p, err, c.want)
			}
		})
	}
}

func TestParseAdmits(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
	}{
		{"your discriminator 0 while down", func(b []byte) []byte { clear(b[8:12]); b[1] = 0x40; return b }},
		{"your discriminator 0 in admin-down", func(b []byte) []byte { clear(b[8:12]); b[1] = 0; return b }},
		{"more bytes than its length", func(b []byte) []byte { return append(b, 1, 2, 3) }},
		{"more length than the minimum", func(b []byte) []byte { b[3] = 26; return append(b, 1, 2) }},
		{"unknown diagnostic", func(b []byte) []byte { b[0] |= 31; return b }},
		{"intervals of 71 minutes", func(b []byte) []byte {
			for i := 12; i < 24; i++ {
				b[i] = 0xff
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse(c.change(bytes.Clone(plainBytes))); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every valid packet survives the wire.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	flip := func() bool { return r.IntN(2) == 0 }
	micros := func() time.Duration { return time.Duration(r.Uint32()>>r.IntN(32)) * time.Microsecond }
	for range 20_000 {
		p := Packet{
			Diag: Diag(r.IntN(32)), State: State(r.IntN(4)), Poll: flip(), Final: flip(), ControlPlaneIndependent: flip(), Demand: flip(),
			Multiplier: uint8(1 + r.IntN(255)), MyDiscr: 1 + r.Uint32N(1<<32-1), YourDiscr: 1 + r.Uint32N(1<<32-1),
			MinTx: micros(), MinRx: micros(), MinEchoRx: micros(),
		}
		if got, err := Parse(p.Append(nil)); err != nil || got != p {
			t.Fatalf("sent %v, got %v, %v", p, got, err)
		}
	}
}

// Words are there for everything that a packet can say.
func TestWords(t *testing.T) {
	for d := Discard(1); d < discards; d++ {
		if d.Slug() == "" || d.Error() == "BFD packet " || len(discardSlugs) != int(discards) || len(discardWords) != int(discards) {
			t.Errorf("discard %d has slug %q, words %q", d, d.Slug(), d.Error())
		}
	}
	for d := range Diag(32) {
		if d.String() == "" {
			t.Errorf("diagnostic %d has no words", d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(plainBytes)
	for _, c := range malformed {
		f.Add(c.change(bytes.Clone(plainBytes)))
	}
	for state := range State(4) {
		for _, flags := range []Packet{{}, {Poll: true}, {Final: true}, {Demand: true}, {Poll: true, Final: true, ControlPlaneIndependent: true}} {
			p := plain
			p.State, p.Poll, p.Final, p.Demand, p.ControlPlaneIndependent = state, flags.Poll, flags.Final, flags.Demand, flags.ControlPlaneIndependent
			f.Add(p.Append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if d, ok := err.(Discard); !ok || d == 0 || d >= discards {
				t.Fatalf("error %#v is not a Discard", err)
			}
			return
		}
		again := p.Append(nil)
		want := bytes.Clone(b[:PacketSize])
		want[3] = PacketSize
		if !bytes.Equal(again, want) {
			t.Fatalf("%x became %x", want, again)
		}
		// No packet may break the machine: whatever comes, its deadline is after now.
		now := time.Unix(1, 0)
		s := New(Config{}.Default(), 7, func() float64 { return 0.5 }, now)
		for range 4 {
			s.Recv(now, p)
			s.Expire(now)
			if d := s.Deadline(); !d.IsZero() && !d.After(now) {
				t.Fatalf("after %v the deadline is %s", p, d.Sub(now))
			}
			now = now.Add(100 * time.Millisecond)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	buffer := make([]byte, 0, PacketSize)
	b.ReportAllocs()
	for b.Loop() {
		buffer = plain.Append(buffer[:0])
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(plainBytes); err != nil {
			b.Fatal(err)
		}
	}
}
