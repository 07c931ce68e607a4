package unnumbered

import (
	"bytes"
	"net"
	"testing"

	"github.com/mdlayher/ndp"
)

// encoded is a message as it is on the wire.
func encoded(t testing.TB, m ndp.Message) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samples(t testing.TB) (ra, rs []byte) {
	source := &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	ra = encoded(t, &ndp.RouterAdvertisement{CurrentHopLimit: 64, Options: []ndp.Option{source, ndp.NewMTU(1500)}})
	return ra, encoded(t, &ndp.RouterSolicitation{Options: []ndp.Option{source}})
}

func TestParse(t *testing.T) {
	ra, rs := samples(t)
	with := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		kind Kind
		ok   bool
	}{
		{"advertisement", ra, Advertisement, true},
		{"advertisement without options", ra[:16], Advertisement, true},
		{"solicitation", rs, Solicitation, true},
		{"solicitation without options", rs[:8], Solicitation, true},
		{"nothing", nil, 0, false},
		{"seven octets", rs[:7], 0, false},
		{"short advertisement", ra[:15], Advertisement, false},
		{"code 1", with(ra, 1, 1), 0, false},
		{"neighbour advertisement", with(ra, 0, 136), 0, false},
		{"option without a length", with(ra, 17, 0), Advertisement, false},
		{"option longer than the message", with(ra, 17, 40), Advertisement, false},
		{"solicitation with an option without a length", with(rs, 9, 0), Solicitation, false},
		{"half an option", ra[:len(ra)-3], Advertisement, false},
	} {
		if kind, ok := parse(c.b); kind != c.kind || ok != c.ok {
			t.Errorf("%s: %d, %v", c.name, kind, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	ra, rs := samples(f)
	f.Add(ra)
	f.Add(rs)
	f.Add(ra[:16])
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, ok := parse(b)
		if !ok {
			return
		}
		if want := map[Kind]byte{Advertisement: typeAdvertisement, Solicitation: typeSolicitation}[kind]; b[0] != want || b[1] != 0 {
			t.Errorf("%x is taken for kind %d", b, kind)
		}
	})
}
