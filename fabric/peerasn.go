package fabric

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// PeerASN is the AS number that a BGP peer must have: a number, or one of the words internal (our own) and external (any but our own).
// JSON has a number or a word.
type PeerASN uint64

// The words for AS numbers of peers.
const (
	ASNInternal PeerASN = 1<<32 + iota
	ASNExternal
)

var asnWords = map[PeerASN]string{ASNInternal: "internal", ASNExternal: "external"}

// ParsePeerASN reads a number or a word.
func ParsePeerASN(s string) (PeerASN, error) {
	for a, word := range asnWords {
		if s == word {
			return a, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number from 1 to 4294967295, internal or external", s)
	}
	return PeerASN(n), nil
}

// String is the number or word.
func (a PeerASN) String() string {
	if word, ok := asnWords[a]; ok {
		return word
	}
	return strconv.FormatUint(uint64(a), 10)
}

// Of is the AS number that the peer of a speaker with AS number own must have; 0 is any but own.
func (a PeerASN) Of(own uint32) uint32 {
	switch a {
	case ASNInternal:
		return own
	case ASNExternal:
		return 0
	}
	return uint32(a)
}

// MarshalJSON gives a number or a word.
func (a PeerASN) MarshalJSON() ([]byte, error) {
	if word, ok := asnWords[a]; ok {
		return json.Marshal(word)
	}
	return json.Marshal(uint64(a))
}

// UnmarshalJSON reads a number or a word.
func (a *PeerASN) UnmarshalJSON(data []byte) error {
	var word string
	if json.Unmarshal(data, &word) == nil {
		n, err := ParsePeerASN(word)
		if err != nil {
			return fmt.Errorf("AS number: %w", err)
		}
		*a = n
		return nil
	}
	n, err := strconv.ParseUint(string(data), 10, 32)
	if err != nil {
		return fmt.Errorf("AS number: %s is not a number from 1 to 4294967295, internal or external", data)
	}
	*a = PeerASN(n)
	return nil
}

// reservedASN tells whether no speaker may have an AS number (RFC 7607, RFC 6793, RFC 7300).
func reservedASN(n uint32) bool {
	return n == 0 || n == 23456 || n == 65535 || n == 4294967295
}
