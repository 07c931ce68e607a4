package router

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"iter"
	"slices"

	"netfabric/fabric"
)

// Of ten thousand announcements one change at a time is what happens. Both ends of the socket remember the lists of what they sent or were sent
// last, as a hash of each element, and send what is between the elements at head and tail that are still the same.

// marks are hashes of the elements of a list, in order.
type marks []uint64

var markSeed = maphash.MakeSeed()

// between says how much of a list is as it was in another, at its head and at its tail.
type between struct{ head, tail int }

// differ compares two lists. In one with elements that were taken out or put in, no element is counted twice.
func differ(base, next marks) (b between) {
	least := min(len(base), len(next))
	for b.head < least && base[b.head] == next[b.head] {
		b.head++
	}
	for b.tail < least-b.head && base[len(base)-1-b.tail] == next[len(next)-1-b.tail] {
		b.tail++
	}
	return b
}

// splice is base with middle in place of what is between. ok is false where base is too short for that.
func splice[T any](base []T, b between, middle []T) (list []T, ok bool) {
	if b.head < 0 || b.tail < 0 || b.head > len(base)-b.tail {
		return nil, false
	}
	return slices.Concat(base[:b.head], middle, base[len(base)-b.tail:]), true
}

func markOf(text []byte) uint64 { return maphash.Bytes(markSeed, text) }

// encoding is the JSON of a list's elements.
type encoding struct {
	text  bytes.Buffer
	ends  []int // of the elements in text
	marks marks
}

// add appends an element.
func (e *encoding) add(element any) error {
	begin := e.text.Len()
	if err := json.NewEncoder(&e.text).Encode(element); err != nil {
		return err
	}
	e.ends = append(e.ends, e.text.Len())
	e.marks = append(e.marks, markOf(e.text.Bytes()[begin:]))
	return nil
}

// between are the texts of the elements that are.
func (e *encoding) between(b between) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		begin := 0
		if b.head > 0 {
			begin = e.ends[b.head-1]
		}
		for _, end := range e.ends[b.head : len(e.ends)-b.tail] {
			if !yield(e.text.Bytes()[begin:end]) {
				return
			}
			begin = end
		}
	}
}

// message is a Routing value on its way to a worker.
type message struct {
	head          fabric.Routing // without announcements
	rest          []byte         // JSON of that, without its revision
	announcements encoding
}

func encode(r fabric.Routing) (m *message, err error) {
	m = &message{head: r}
	m.head.Announcements = nil
	plain := m.head
	plain.Revision = 0
	if m.rest, err = json.Marshal(plain); err != nil {
		return nil, err
	}
	for i := range r.Announcements {
		if err := m.announcements.add(&r.Announcements[i]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// same tells whether two messages say the same, of whatever revision.
func (m *message) same(other *message) bool {
	return other != nil && bytes.Equal(m.rest, other.rest) && slices.Equal(m.announcements.marks, other.announcements.marks)
}

// body is the JSON of the value with those of its announcements that are between.
func (m *message) body(b between) ([]byte, error) {
	var body bytes.Buffer
	w := bufio.NewWriter(&body)
	long, err := beginLong(w, m.head, announcements)
	if err != nil {
		return nil, err
	}
	for text := range m.announcements.between(b) {
		long.addText(text)
	}
	err = errors.Join(long.end(), w.Flush())
	return body.Bytes(), err
}

// sent lets go of what was needed only to send the message.
func (m *message) sent() {
	m.announcements.text, m.announcements.ends = bytes.Buffer{}, nil
}
