package compute

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

// certificateOf is PEM that no other member has.
func certificateOf(name string) string {
	return fmt.Sprintf("-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n", map[string]string{"a": "QQ==", "b": "Qg==", "c": "Qw=="}[name])
}

func TestPlace(t *testing.T) {
	store := fabrictest.NewMemory()
	if _, err := store.Apply(context.Background(), func(tx *fabric.Tx) error {
		objects := []fabric.Object{
			&fabric.Member{Header: fabric.Header{Name: "a"}, Address: "192.0.2.1:1", Certificate: certificateOf("a")},
			&fabric.Member{Header: fabric.Header{Name: "b"}, Address: "192.0.2.2:1", Certificate: certificateOf("b")},
			&fabric.Member{Header: fabric.Header{Name: "c"}, Address: "192.0.2.3:1", Certificate: certificateOf("c"), Config: fabric.Config{"scheduler.instance": "manual"}},
			&fabric.Pool{Header: fabric.Header{Name: "default"}, Driver: "dir"},
		}
		for name, member := range map[string]string{"i1": "a", "i2": "a", "i3": "b"} {
			objects = append(objects, &fabric.Instance{Header: fabric.Header{Name: name}, Type: "container", Member: member, Pool: "default", Power: fabric.PowerStopped})
		}
		for _, o := range objects {
			if err := tx.Put(o); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, instance, target string
		online                 []string
		want, reason           string
	}{
		{"fewest", "new", "", []string{"a", "b", "c"}, "b", ""},
		{"itself does not count", "i1", "", []string{"a", "b", "c"}, "a", ""},
		{"only online ones", "new", "", []string{"a", "c"}, "a", ""},
		{"manual with a target", "new", "c", []string{"a", "b", "c"}, "c", ""},
		{"target is offline", "new", "b", []string{"a"}, "", "member-offline"},
		{"target does not exist", "new", "x", []string{"a"}, "", "no-member"},
		{"nobody is left", "new", "", []string{"c"}, "", "no-member-fits"},
	} {
		online := func(m string) bool { return slices.Contains(c.online, m) }
		got, err := Place(store.Snapshot(), online, &fabric.Instance{Header: fabric.Header{Name: c.instance}}, c.target)
		if got != c.want || fabric.ReasonOf(err) != c.reason {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestCopies(t *testing.T) {
	members := []string{"m1", "m2", "m3", "m4", "m5"}
	moved := 0
	for n := range 200 {
		fingerprint := fmt.Sprintf("%064x", n)
		var before, after []string
		for _, m := range members {
			if keepsCopy(fingerprint, m, members, 3) {
				before = append(before, m)
			}
			if m != "m5" && keepsCopy(fingerprint, m, members[:4], 3) {
				after = append(after, m)
			}
			if !keepsCopy(fingerprint, m, members, -1) || keepsCopy(fingerprint, m, members, 0) {
				t.Fatalf("%s: -1 is all, 0 is none", m)
			}
		}
		if len(before) != 3 || len(after) != 3 {
			t.Fatalf("%d and %d copies of 3", len(before), len(after))
		}
		for _, m := range after {
			if !slices.Contains(before, m) {
				if !slices.Contains(before, "m5") {
					t.Fatalf("a copy moved to %s although the member that left had none", m)
				}
				moved++
			}
		}
	}
	if moved == 0 {
		t.Error("no copy of the member that left was made up for")
	}
}

func TestSources(t *testing.T) {
	image := &fabric.Image{Header: fabric.Header{Name: fmt.Sprintf("%064x", 1)}, Origin: "m1"}
	present := func(member string, ok bool) fabric.Condition {
		return fabric.Condition{Object: fabric.KeyOf(image), Member: member, Type: fabric.ConditionPresent, OK: ok}
	}
	reports := fabric.EmptyReports().With(1, []fabric.Condition{present("m2", true), present("m3", false), present("m4", true), present("m5", true)}, nil)
	got := sources(fabric.View{Member: "m4", Reports: reports}, image)
	if len(got) != 3 || got[2] != "m1" || slices.Contains(got, "m4") || slices.Contains(got, "m3") {
		t.Errorf("sources are %v", got)
	}
}
