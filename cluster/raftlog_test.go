package cluster

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/canonical/go-dqlite/client"

	"netfabric/fabric"
)

// le puts numbers one after the other, least byte first.
func le(numbers ...uint64) (b []byte) {
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// configurationOf is the stored form of nodes.
func configurationOf(nodes ...client.NodeInfo) []byte {
	b := append([]byte{logFormat}, le(uint64(len(nodes)))...)
	for _, n := range nodes {
		b = append(append(b, le(n.ID)...), n.Address...)
		role := map[client.NodeRole]byte{client.StandBy: 0, client.Voter: 1, client.Spare: 2}[n.Role]
		b = append(b, 0, role)
	}
	return b
}

// batchOf is the stored form of entries.
func batchOf(entries ...logEntry) []byte {
	head, body := le(uint64(len(entries))), []byte(nil)
	for _, e := range entries {
		head = append(head, le(e.term, uint64(e.kind)|uint64(len(e.data))<<32)...)
		body = append(body, e.data...)
		body = append(body, make([]byte, (8-len(body)%8)%8)...)
	}
	sums := binary.LittleEndian.AppendUint32(nil, raftSum(head))
	sums = binary.LittleEndian.AppendUint32(sums, raftSum(body))
	return append(append(sums, head...), body...)
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestReadLogEnd(t *testing.T) {
	one := client.NodeInfo{ID: 1, Address: "192.0.2.1:8443", Role: client.Voter}
	two := client.NodeInfo{ID: 2, Address: "192.0.2.2:8443", Role: client.StandBy}
	command := func(term uint64) logEntry { return logEntry{term, 1, []byte("command")} }
	change := func(term uint64, nodes ...client.NodeInfo) logEntry {
		return logEntry{term, entryChange, configurationOf(nodes...)}
	}
	format, zeros := le(logFormat), make([]byte, 4096)
	configuration := configurationOf(one)
	indexes := join(le(3, uint64(len(configuration))), configuration)
	meta := join(le(logFormat, uint64(raftSum(indexes))), indexes)
	torn := batchOf(command(9))
	torn = torn[:len(torn)-8]
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  logEnd
		fails bool
	}{
		{"nothing", map[string][]byte{"metadata1": le(1, 1, 1, 0)}, logEnd{}, false},
		{"closed segments", map[string][]byte{
			"0000000000000001-0000000000000002": join(format, batchOf(change(1, one)), batchOf(command(1))),
			"0000000000000003-0000000000000005": join(format, batchOf(command(2), change(2, one, two), command(4))),
		}, logEnd{4, 5, []client.NodeInfo{one, two}}, false},
		{"more than the name says", map[string][]byte{
			"0000000000000001-0000000000000001": join(format, batchOf(change(1, one), change(7, two)), batchOf(command(8))),
		}, logEnd{1, 1, []client.NodeInfo{one}}, false},
		{"open segments in their order, the last one unused", map[string][]byte{
			"0000000000000001-0000000000000001": join(format, batchOf(change(1, one))),
			"open-10":                           join(format, batchOf(command(3)), zeros),
			"open-9":                            join(format, batchOf(command(2)), zeros),
			"open-11":                           zeros,
		}, logEnd{3, 3, []client.NodeInfo{one}}, false},
		{"torn at the end", map[string][]byte{"open-1": join(format, batchOf(change(1, one)), torn)}, logEnd{1, 1, []client.NodeInfo{one}}, false},
		{"torn in the middle", map[string][]byte{"0000000000000001-0000000000000002": join(format, batchOf(change(1, one)), torn)}, logEnd{}, true},
		{"snapshot and what came after", map[string][]byte{
			"snapshot-2-5-100": nil, "snapshot-2-5-100.meta": meta,
			"snapshot-1-3-50": nil, "snapshot-1-3-50.meta": nil,
			"0000000000000001-0000000000000005": nil,
			"0000000000000006-0000000000000006": join(format, batchOf(command(3))),
		}, logEnd{3, 6, []client.NodeInfo{one}}, false},
		{"snapshot alone", map[string][]byte{"snapshot-2-5-100.meta": meta, "snapshot-2-5-100": nil}, logEnd{2, 5, []client.NodeInfo{one}}, false},
		{"damaged snapshot", map[string][]byte{"snapshot-2-5-100": nil, "snapshot-2-5-100.meta": join(meta, le(0))}, logEnd{}, true},
		{"a gap", map[string][]byte{"0000000000000002-0000000000000002": join(format, batchOf(command(1)))}, logEnd{}, true},
		{"another format", map[string][]byte{"open-1": le(2)}, logEnd{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readLogEnd(dir)
			if (err != nil) != test.fails || err == nil && !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

// FuzzLogEnd: what is on a disk may be anything.
func FuzzLogEnd(f *testing.F) {
	f.Add(join(le(logFormat), batchOf(logEntry{1, entryChange, configurationOf(client.NodeInfo{ID: 1, Address: "a", Role: client.Voter})}, logEntry{1, 1, []byte("x")})), uint64(2))
	f.Add(join(le(logFormat, 0, 1<<60)), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, last uint64) {
		var end logEnd
		if err := end.take(data, 1, last); err == nil && last > 0 && end.Index > last {
			t.Errorf("read up to %d of %d", end.Index, last)
		}
		parseSnapshotMeta(data)
		parseConfiguration(data)
	})
}

func TestLineage(t *testing.T) {
	none := lineage(nil)
	a := none.next()
	b, c := a.next(), a.next()
	for _, test := range []struct {
		name      string
		one, from lineage
		descends  bool
	}{
		{"itself", a, a, false},
		{"child", a, none, true},
		{"grandchild", b, none, true},
		{"parent", none, a, false},
		{"sibling", b, c, false},
	} {
		if got := test.one.descends(test.from); got != test.descends {
			t.Errorf("%s: %v descends from %v: %t", test.name, test.one, test.from, got)
		}
	}
	names := map[string]bool{}
	for _, l := range []lineage{none, a, b, c} {
		names[l.name()], names[l.protocol()] = true, true
		if back, ok := parseLineage(l.String()); !ok || back.String() != l.String() {
			t.Errorf("%v is read as %v, %t", l, back, ok)
		}
	}
	if len(names) != 8 {
		t.Errorf("names and protocols are not all different: %v", names)
	}
	for _, bad := range []string{"x", "12345678,", "../00000", "123456789"} {
		if _, ok := parseLineage(bad); ok {
			t.Errorf("%q is taken for a lineage", bad)
		}
	}
}

func TestCheckLost(t *testing.T) {
	m := membership{id: identity{Name: "n1", NodeID: 1}}
	for id, name := range []string{"n1", "n2", "n3", "n4", "n5"} {
		m.known.Members = append(m.known.Members, peer{Name: name, NodeID: uint64(id + 1)})
		role := client.Voter
		if name > "n3" {
			role = client.StandBy
		}
		m.end.Nodes = append(m.end.Nodes, client.NodeInfo{ID: uint64(id + 1), Role: role})
	}
	for _, test := range []struct {
		self   uint64
		silent []string
		wants  string
	}{
		{1, []string{"n2", "n3"}, ""}, // the stand-bys have no say
		{1, []string{"n3"}, "has-quorum"},
		{1, []string{"n4", "n5"}, "has-quorum"},
		{4, []string{"n1", "n2"}, ""},
		{4, []string{"n1"}, "has-quorum"},
	} {
		m.id.Name, m.id.NodeID = m.known.Members[test.self-1].Name, test.self
		if err := m.checkLost(test.silent); fabric.ReasonOf(err) != test.wants {
			t.Errorf("%s, silent %v: %v, want %q", m.id.Name, test.silent, err, test.wants)
		}
	}
}

func TestCheckRecoverable(t *testing.T) {
	node := func(id uint64, role client.NodeRole) client.NodeInfo { return client.NodeInfo{ID: id, Role: role} }
	for _, test := range []struct {
		name  string
		end   logEnd
		old   bool
		wants string
	}{
		{"voter", logEnd{1, 1, []client.NodeInfo{node(1, client.Voter), node(2, client.Voter)}}, false, ""},
		{"stand-by", logEnd{1, 1, []client.NodeInfo{node(1, client.StandBy), node(2, client.Voter)}}, false, ""},
		{"spare", logEnd{1, 1, []client.NodeInfo{node(1, client.Spare), node(2, client.Voter)}}, false, "spare"},
		{"spare, accepted", logEnd{1, 1, []client.NodeInfo{node(1, client.Spare), node(2, client.Voter)}}, true, ""},
		{"without data", logEnd{}, true, "no-copy"},
		{"not in it", logEnd{1, 1, []client.NodeInfo{node(2, client.Voter)}}, false, "not-a-node"},
		{"alone", logEnd{1, 1, []client.NodeInfo{node(1, client.Voter), node(2, client.Spare)}}, true, "has-quorum"},
	} {
		m := membership{id: identity{Name: "n1", NodeID: 1}, end: test.end}
		err := m.checkRecoverable(test.old)
		if got := fabric.ReasonOf(err); got != test.wants {
			t.Errorf("%s: %q (%v), want %q", test.name, got, err, test.wants)
		}
	}
}
