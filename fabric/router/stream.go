package router

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"netfabric/fabric"
)

// Values and states can be long: with 100,000 announcements, tens of megabytes of JSON. They are written and read one element at a time.

// longWriter writes a JSON object whose last member is an array, one element at a time. Errors stay, and come with the last.
type longWriter struct {
	w     *bufio.Writer
	some  bool
	buf   bytes.Buffer
	coder *json.Encoder // into buf
}

// beginLong writes head, which has at least one member and not the one of that name.
func beginLong(w *bufio.Writer, head any, name string) (*longWriter, error) {
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	w.Write(text[:len(text)-1])
	fmt.Fprintf(w, ",%q:[", name)
	l := &longWriter{w: w}
	l.coder = json.NewEncoder(&l.buf)
	return l, nil
}

// add writes an element, and returns its JSON until the next one.
func (l *longWriter) add(element any) (text []byte, err error) {
	l.buf.Reset()
	if err := l.coder.Encode(element); err != nil {
		return nil, err
	}
	l.addText(l.buf.Bytes())
	return l.buf.Bytes(), nil
}

// addText is add of an element that is JSON already.
func (l *longWriter) addText(text []byte) {
	if l.some {
		l.w.WriteByte(',')
	}
	l.some = true
	l.w.Write(text)
}

func (l *longWriter) end() error {
	_, err := l.w.WriteString("]}")
	return err
}

// announcements is the member of a Routing value that can be long.
const announcements = "announcements"

func writeRouting(w *bufio.Writer, r fabric.Routing) error {
	head := r
	head.Announcements = nil
	if len(r.Announcements) == 0 {
		return json.NewEncoder(w).Encode(head)
	}
	long, err := beginLong(w, head, announcements)
	if err != nil {
		return err
	}
	for i := range r.Announcements {
		if _, err := long.add(&r.Announcements[i]); err != nil {
			return err
		}
	}
	return long.end()
}

// beginState begins a state with other routes than its own.
func beginState(w *bufio.Writer, s fabric.RoutingState) (*longWriter, error) {
	return beginLong(w, struct {
		fabric.RoutingState
		Routes bool `json:"routes,omitempty"` // in place of what follows
	}{RoutingState: s}, "routes")
}

// readRouting reads a Routing value. To be strict is to take what is not known for an error.
func readRouting(d *json.Decoder, strict bool) (r fabric.Routing, err error) {
	if strict {
		d.DisallowUnknownFields()
	}
	var shared sharer
	var parts [][]fabric.Announcement // a list that grows to a hundred thousand would be copied again and again
	rest := []byte{'{'}
	err = members(d, func(name string) error {
		if name == announcements {
			parts = nil
			return elements(d, func() error {
				var a fabric.Announcement
				if err := d.Decode(&a); err != nil {
					return err
				}
				shared.share(&a)
				if last := len(parts) - 1; last < 0 || len(parts[last]) == cap(parts[last]) {
					parts = append(parts, make([]fabric.Announcement, 0, chunk))
				}
				last := &parts[len(parts)-1]
				*last = append(*last, a)
				return nil
			})
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(fmt.Appendf(rest, "%q:", name), value...)
		return nil
	})
	if err != nil {
		return fabric.Routing{}, err
	}
	r.Announcements = slices.Concat(parts...)
	others := json.NewDecoder(bytes.NewReader(append(rest, '}')))
	if strict {
		others.DisallowUnknownFields()
	}
	return r, others.Decode(&r)
}

// members reads an object; each is called for the name of each member and reads its value.
func members(d *json.Decoder, each func(name string) error) error {
	if err := delimiter(d, '{'); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return errors.New("a member without a name")
		}
		if err := each(name); err != nil {
			return err
		}
	}
	return delimiter(d, '}')
}

// elements reads an array, or null; each reads one element.
func elements(d *json.Decoder, each func() error) error {
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return fmt.Errorf("%v in place of a list", token)
	}
	for d.More() {
		if err := each(); err != nil {
			return err
		}
	}
	return delimiter(d, ']')
}

func delimiter(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err == nil && token != want {
		err = fmt.Errorf("%v in place of %q", token, want)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sharer has announcements share what most of them have in common.
type sharer struct {
	kinds  map[fabric.AnnouncementKind]fabric.AnnouncementKind
	owners map[fabric.Key]fabric.Key
	peers  map[string][]string // by the JSON of the list
	key    []byte
}

func (s *sharer) share(a *fabric.Announcement) {
	if s.kinds == nil {
		s.kinds, s.owners, s.peers = map[fabric.AnnouncementKind]fabric.AnnouncementKind{}, map[fabric.Key]fabric.Key{}, map[string][]string{}
	}
	if kind, ok := s.kinds[a.Kind]; ok {
		a.Kind = kind
	} else {
		s.kinds[a.Kind] = a.Kind
	}
	if owner, ok := s.owners[a.Owner]; ok {
		a.Owner = owner
	} else {
		s.owners[a.Owner] = a.Owner
	}
	s.key = s.key[:0]
	for _, p := range a.Peers {
		s.key = append(append(s.key, p...), 0) // no name has that byte
	}
	if peers, ok := s.peers[string(s.key)]; ok {
		a.Peers = peers
	} else {
		s.peers[string(s.key)] = a.Peers
	}
}
