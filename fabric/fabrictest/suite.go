package fabrictest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netfabric/fabric"
)

const suiteTimeout = 30 * time.Second

// Suite checks that a Store keeps its promises. open gives the store to test; it may give the same one each time, and one that others write
// to as well: every test uses names of its own.
func Suite(t *testing.T, open func(t *testing.T) fabric.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"ApplyMakesOneRevision", testApply},
		{"ReadYourWrites", testReadYourWrites},
		{"ErrorChangesNothing", testErrorChangesNothing},
		{"PanicChangesNothing", testPanicChangesNothing},
		{"NothingToChange", testNothingToChange},
		{"ClaimsHaveOneHolder", testClaims},
		{"ReferencesHold", testReferences},
		{"SnapshotNeverChanges", testSnapshotNeverChanges},
		{"CallersObjectStaysTheirs", testCallersObject},
		{"EndedContext", testEndedContext},
		{"NoUpdateIsLost", testNoUpdateIsLost},
		{"RaceForAClaim", testRaceForAClaim},
		{"ManyObjectsAtOnce", testManyObjects},
		{"ReportReplaces", testReport},
		{"ReportOfSomebodyElse", testReportOfSomebodyElse},
		{"SubscribersHear", testSubscribe},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
			t.Cleanup(cancel)
			test.run(t, suite{open(t), ctx, strings.ToLower(rand.Text()[:10])})
		})
	}
}

type suite struct {
	store  fabric.Store
	ctx    context.Context
	prefix string // of the names in this test
}

func (s suite) name(n string) string { return s.prefix + "-" + n }

func (s suite) profile(n, value string) *fabric.Profile {
	return &fabric.Profile{Header: fabric.Header{Name: s.name(n)}, Config: fabric.Config{"user.value": value}, Devices: fabric.Devices{}}
}

func (s suite) put(t *testing.T, objects ...fabric.Object) uint64 {
	t.Helper()
	revision, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		for _, o := range objects {
			if err := tx.Put(fabric.Clone(o)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return revision
}

func (s suite) value(t *testing.T, snapshot *fabric.Snapshot, n string) string {
	t.Helper()
	p, ok := snapshot.Profile(s.name(n))
	if !ok {
		return ""
	}
	return p.Config["user.value"]
}

func testApply(t *testing.T, s suite) {
	before := s.store.Snapshot().Revision
	revision := s.put(t, s.profile("a", "1"), s.profile("b", "1"))
	if revision <= before {
		t.Errorf("revision went from %d to %d", before, revision)
	}
	snapshot := s.store.Snapshot()
	for _, n := range []string{"a", "b"} {
		p, ok := snapshot.Profile(s.name(n))
		if !ok || p.Revision != revision {
			t.Errorf("profile %s: %+v, want it with revision %d", n, p, revision)
		}
		if p.Created.IsZero() {
			t.Errorf("profile %s has no time of creation", n)
		}
	}
	if _, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		return errors.Join(tx.Delete(fabric.KeyOf(s.profile("a", ""))), tx.Put(s.profile("b", "2")))
	}); err != nil {
		t.Fatal(err)
	}
	snapshot = s.store.Snapshot()
	if _, ok := snapshot.Profile(s.name("a")); ok {
		t.Error("a was deleted and is there")
	}
	if got := s.value(t, snapshot, "b"); got != "2" {
		t.Errorf("b is %q, want 2", got)
	}
}

func testReadYourWrites(t *testing.T, s suite) {
	for i := range 20 {
		want := strconv.Itoa(i)
		revision := s.put(t, s.profile("a", want))
		snapshot := s.store.Snapshot()
		if got := s.value(t, snapshot, "a"); got != want || snapshot.Revision < revision {
			t.Fatalf("after write %d of revision %d the snapshot of revision %d has %q", i, revision, snapshot.Revision, got)
		}
	}
}

func testErrorChangesNothing(t *testing.T, s suite) {
	s.put(t, s.profile("a", "1"))
	refusal := errors.New("no")
	_, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		return errors.Join(tx.Put(s.profile("a", "2")), refusal)
	})
	if !errors.Is(err, refusal) {
		t.Errorf("got error %v, want that of the change", err)
	}
	if got := s.value(t, s.store.Snapshot(), "a"); got != "1" {
		t.Errorf("a is %q, want 1", got)
	}
	_, err = s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		return tx.Delete(fabric.Key{Kind: fabric.KindProfile, Name: s.name("none")})
	})
	if fabric.CodeOf(err) != fabric.CodeNotFound {
		t.Errorf("delete of what is not there: %v, want not found", err)
	}
	s.put(t, s.profile("a", "3")) // the store still works
}

func testPanicChangesNothing(t *testing.T, s suite) {
	if _, ok := s.store.(*Memory); ok {
		t.Skip("runs the change on the caller's own goroutine, where a panic is the caller's")
	}
	_, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		if err := tx.Put(s.profile("a", "1")); err != nil {
			return err
		}
		panic("on purpose")
	})
	if fabric.CodeOf(err) != fabric.CodeInternal {
		t.Errorf("got error %v, want an internal one", err)
	}
	if got := s.value(t, s.store.Snapshot(), "a"); got != "" {
		t.Errorf("a is %q, want nothing", got)
	}
}

func testNothingToChange(t *testing.T, s suite) {
	want := s.put(t, s.profile("a", "1"))
	got, err := s.store.Apply(s.ctx, func(*fabric.Tx) error { return nil })
	if err != nil || got < want {
		t.Errorf("got revision %d, error %v; want at least %d", got, err, want)
	}
	if p, _ := s.store.Snapshot().Profile(s.name("a")); p.Revision != want {
		t.Errorf("the profile has revision %d now, want %d", p.Revision, want)
	}
}

// address is one that no other test has.
func (s suite) address(i int) netip.Prefix {
	var b [16]byte
	copy(b[:], "\x20\x01\x0d\xb8")
	copy(b[4:], s.prefix)
	b[15] = byte(i)
	return netip.PrefixFrom(netip.AddrFrom16(b), 128)
}

func (s suite) service(n string, addresses ...netip.Prefix) *fabric.Anycast {
	return &fabric.Anycast{Header: fabric.Header{Name: s.name(n)}, Addresses: addresses}
}

func testClaims(t *testing.T, s suite) {
	s.put(t, s.service("a", s.address(1), s.address(2)))
	_, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Put(s.service("b", s.address(2))) })
	if fabric.CodeOf(err) != fabric.CodeConflict {
		t.Errorf("second holder of an address: error %v, want a conflict", err)
	}
	s.put(t, s.service("a", s.address(1)), s.service("b", s.address(2))) // moves in one transaction
	s.put(t, s.service("a", s.address(1), s.address(3)))
	if holder, _ := s.store.Snapshot().Holder(fabric.Claim{Space: "anycast", Value: s.address(2).Addr().String()}); holder.Name != s.name("b") {
		t.Errorf("the address belongs to %s, want b", holder)
	}
	if _, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(s.service("b"))) }); err != nil {
		t.Fatal(err)
	}
	s.put(t, s.service("c", s.address(2))) // free again
}

func testReferences(t *testing.T, s suite) {
	fingerprint := fabric.HashSecret(s.prefix)
	image := &fabric.Image{Header: fabric.Header{Name: fingerprint}, Type: "container"}
	alias := &fabric.Alias{Header: fabric.Header{Name: s.name("alias")}, Target: fingerprint}
	_, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Put(fabric.Clone(alias)) })
	if fabric.ReasonOf(err) != "missing-reference" {
		t.Errorf("alias of nothing: error %v, want missing-reference", err)
	}
	s.put(t, alias, image) // in whatever order
	_, err = s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(image)) })
	if fabric.ReasonOf(err) != "in-use" {
		t.Errorf("delete of what an alias needs: error %v, want in-use", err)
	}
	if _, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error {
		return errors.Join(tx.Delete(fabric.KeyOf(image)), tx.Delete(fabric.KeyOf(alias)))
	}); err != nil {
		t.Errorf("delete of both: %v", err)
	}
}

func testSnapshotNeverChanges(t *testing.T, s suite) {
	s.put(t, s.profile("a", "1"), s.service("s", s.address(1)))
	old := s.store.Snapshot()
	rows, err := old.Rows()
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, s.profile("a", "2"), s.profile("b", "1"))
	if _, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Delete(fabric.KeyOf(s.service("s"))) }); err != nil {
		t.Fatal(err)
	}
	again, err := old.Rows()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(rows, again) {
		t.Error("an old snapshot changed")
	}
	if _, held := old.Holder(fabric.Claim{Space: "anycast", Value: s.address(1).Addr().String()}); !held {
		t.Error("the claims of an old snapshot changed")
	}
}

func testCallersObject(t *testing.T, s suite) {
	mine := s.profile("a", "1")
	if _, err := s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Put(mine) }); err != nil {
		t.Fatal(err)
	}
	mine.Config["user.value"] = "changed afterwards"
	if got := s.value(t, s.store.Snapshot(), "a"); got != "1" {
		t.Errorf("the stored object is %q: it is the caller's", got)
	}
}

func testEndedContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.store.Apply(ctx, func(tx *fabric.Tx) error { return tx.Put(s.profile("a", "1")) })
	if fabric.CodeOf(err) != fabric.CodeUnavailable {
		t.Errorf("got error %v, want unavailable", err)
	}
	if fabric.ReasonOf(err) != "outcome-unknown" && s.value(t, s.store.Snapshot(), "a") != "" {
		t.Error("the write was refused and made")
	}
}

func testNoUpdateIsLost(t *testing.T, s suite) {
	const writers, each = 4, 25
	s.put(t, s.profile("n", "0"))
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				if _, err := s.store.Apply(s.ctx, s.increment("n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if got := s.value(t, s.store.Snapshot(), "n"); got != strconv.Itoa(writers*each) {
		t.Errorf("counted to %s, want %d", got, writers*each)
	}
}

func (s suite) increment(n string) func(*fabric.Tx) error {
	return func(tx *fabric.Tx) error {
		p, ok := tx.Snapshot().Profile(s.name(n))
		if !ok {
			return fabric.NotFoundf("%s", n)
		}
		count, err := strconv.Atoi(p.Config["user.value"])
		if err != nil {
			return err
		}
		return tx.Put(s.profile(n, strconv.Itoa(count+1)))
	}
}

func testRaceForAClaim(t *testing.T, s suite) {
	const racers = 8
	errs := make([]error, racers)
	var wait sync.WaitGroup
	for i := range racers {
		wait.Go(func() {
			_, errs[i] = s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Put(s.service(fmt.Sprint("r", i), s.address(1))) })
		})
	}
	wait.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case fabric.CodeOf(err) != fabric.CodeConflict:
			t.Errorf("a loser got %v, want a conflict", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d got the address", won, racers)
	}
}

func testManyObjects(t *testing.T, s suite) {
	const many = 120
	var objects []fabric.Object
	for i := range many {
		objects = append(objects, s.service(fmt.Sprint("m", i), s.address(i)))
	}
	revision := s.put(t, objects...)
	for i := range many {
		o, ok := s.store.Snapshot().Anycast(s.name(fmt.Sprint("m", i)))
		if !ok || o.Revision != revision {
			t.Fatalf("object %d of revision %d: %+v", i, revision, o)
		}
	}
}

func (s suite) condition(n, member string, ok bool) fabric.Condition {
	return fabric.Condition{Object: fabric.Key{Kind: fabric.KindNetwork, Name: s.name(n)}, Member: s.name(member), Type: fabric.ConditionReady, OK: ok,
		Since: time.Unix(1700000000, 0).UTC()}
}

func testReport(t *testing.T, s suite) {
	member := s.name("m1")
	if err := s.store.Report(s.ctx, member, []fabric.Condition{s.condition("a", "m1", true), s.condition("b", "m1", true)}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Report(s.ctx, s.name("m2"), []fabric.Condition{s.condition("a", "m2", false)}); err != nil {
		t.Fatal(err)
	}
	revision := s.store.Snapshot().Revision
	if err := s.store.Report(s.ctx, member, []fabric.Condition{s.condition("a", "m1", false)}); err != nil {
		t.Fatal(err)
	}
	reports := s.store.Reports()
	of := reports.Of(fabric.Key{Kind: fabric.KindNetwork, Name: s.name("a")})
	if len(of) != 2 || of[0].OK || !of[0].Same(s.condition("a", "m1", false)) || !of[0].Since.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("of a: %+v", of)
	}
	if of := reports.Of(fabric.Key{Kind: fabric.KindNetwork, Name: s.name("b")}); len(of) != 0 {
		t.Errorf("of b, about which nothing is said any more: %+v", of)
	}
	if got := s.store.Snapshot(); got.Revision != revision {
		// Others may write to the store; but not in the tests that run one at a time.
		if _, memory := s.store.(*Memory); memory {
			t.Errorf("reports changed the revision from %d to %d", revision, got.Revision)
		}
	}
	if err := s.store.Report(s.ctx, member, nil); err != nil {
		t.Fatal(err)
	}
	if of := s.store.Reports().Of(fabric.Key{Kind: fabric.KindNetwork, Name: s.name("a")}); len(of) != 1 {
		t.Errorf("of a after one member fell silent: %+v", of)
	}
}

func testReportOfSomebodyElse(t *testing.T, s suite) {
	if err := s.store.Report(s.ctx, s.name("m1"), []fabric.Condition{s.condition("a", "m2", true)}); err == nil {
		t.Error("a member spoke for another one")
	}
	if of := s.store.Reports().Of(fabric.Key{Kind: fabric.KindNetwork, Name: s.name("a")}); len(of) != 0 {
		t.Errorf("and was heard: %+v", of)
	}
}

func testSubscribe(t *testing.T, s suite) {
	news, end := s.store.Subscribe()
	defer end()
	hear := func(what string, there func() bool) {
		t.Helper()
		for !there() {
			select {
			case <-news:
			case <-s.ctx.Done():
				t.Fatalf("no signal of %s", what)
			}
		}
	}
	drain(news)
	go s.store.Apply(s.ctx, func(tx *fabric.Tx) error { return tx.Put(s.profile("a", "1")) })
	hear("an object", func() bool { return s.value(t, s.store.Snapshot(), "a") == "1" })
	drain(news)
	go s.store.Report(s.ctx, s.name("m1"), []fabric.Condition{s.condition("a", "m1", true)})
	hear("a condition", func() bool {
		return len(s.store.Reports().Of(fabric.Key{Kind: fabric.KindNetwork, Name: s.name("a")})) == 1
	})
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}
