package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	"github.com/canonical/go-dqlite/client"
)

// logEnd is how far a copy of the database is, and who shares it according to the copy.
type logEnd struct {
	Term, Index uint64 // of the last entry; zero: there is none
	Nodes       []client.NodeInfo
}

// readLogEnd reads the directory of a database node: its newest snapshot and the segments of its log after that, in the form that libraft 0.15
// gives them (raft/uv.h). It changes nothing, and may be used while the node runs: what is just being written counts as not there yet.
func readLogEnd(dir string) (logEnd, error) {
	files, err := listLog(dir)
	if err != nil {
		return logEnd{}, fmt.Errorf("read the database in %s: %w", dir, err)
	}
	var end logEnd
	if s := files.snapshot; s.index > 0 {
		meta, err := os.ReadFile(filepath.Join(dir, s.name+".meta"))
		if err != nil {
			return logEnd{}, fmt.Errorf("read the database: %w", err)
		}
		if end.Nodes, err = parseSnapshotMeta(meta); err != nil {
			return logEnd{}, fmt.Errorf("read the database: %s.meta: %w", filepath.Join(dir, s.name), err)
		}
		end.Term, end.Index = s.term, s.index
	}
	for _, segment := range files.segments {
		if segment.last > 0 && segment.last <= end.Index {
			continue // the snapshot has it all
		}
		if segment.first > end.Index+1 {
			return logEnd{}, fmt.Errorf("read the database in %s: entries %d to %d are missing", dir, end.Index+1, segment.first-1)
		}
		data, err := os.ReadFile(filepath.Join(dir, segment.name))
		if err != nil {
			return logEnd{}, fmt.Errorf("read the database: %w", err)
		}
		first := segment.first
		if first == 0 { // an open segment: it goes on where the one before ended
			first = end.Index + 1
		}
		if err := end.take(data, first, segment.last); err != nil {
			return logEnd{}, fmt.Errorf("read the database: %s: %w", filepath.Join(dir, segment.name), err)
		}
	}
	return end, nil
}

// snapshotFile and segmentFile are files of a log, known by their names.
type snapshotFile struct {
	name                 string
	term, index, created uint64
}

type segmentFile struct {
	name        string
	first, last uint64 // indexes; zero in an open segment
	counter     uint64 // of an open segment
}

type logFiles struct {
	snapshot snapshotFile // the newest; zero: there is none
	segments []segmentFile
}

// listLog finds the files that make up a log, in the order in which they are to be read.
func listLog(dir string) (logFiles, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return logFiles{}, err
	}
	var files logFiles
	for _, e := range entries {
		var s snapshotFile
		var g segmentFile
		name := e.Name()
		switch {
		case scanned(name, "snapshot-%d-%d-%d", &s.term, &s.index, &s.created):
			s.name = name
			old := files.snapshot
			if slices.Compare([]uint64{s.term, s.index, s.created}, []uint64{old.term, old.index, old.created}) > 0 {
				files.snapshot = s
			}
		case scanned(name, "open-%d", &g.counter), scanned(name, "%016d-%016d", &g.first, &g.last):
			g.name = name
			files.segments = append(files.segments, g)
		}
	}
	slices.SortFunc(files.segments, func(a, b segmentFile) int {
		if open := b.first == 0; open != (a.first == 0) {
			if open {
				return -1
			}
			return 1
		}
		return slices.Compare([]uint64{a.first, a.counter}, []uint64{b.first, b.counter})
	})
	return files, nil
}

// scanned reads the numbers in a name that has exactly the form.
func scanned(name, form string, numbers ...*uint64) bool {
	targets, values := make([]any, len(numbers)), make([]any, len(numbers))
	for i, n := range numbers {
		targets[i] = n
	}
	if _, err := fmt.Sscanf(name, form, targets...); err != nil {
		return false
	}
	for i, n := range numbers {
		values[i] = *n
	}
	return fmt.Sprintf(form, values...) == name
}

var errFormat = errors.New("not in the form that is known")

const (
	logFormat   = 1
	entryChange = 3 // RAFT_CHANGE: an entry that says who shares the database from then on
	entryHeader = 16
)

// take adds the entries of a segment, the first of which has an index. Those after last are left over from a truncation; zero: there is no such
// bound, and the segment may end in the middle of an entry, which was never acknowledged then.
func (e *logEnd) take(data []byte, first, last uint64) error {
	if len(data) < 8 {
		return nil
	}
	switch format := binary.LittleEndian.Uint64(data); {
	case format == 0 && last == 0:
		return nil // made in advance and not used yet
	case format != logFormat:
		return fmt.Errorf("segment: %w: format %d", errFormat, format)
	}
	data = data[8:]
	for index := first; last == 0 || index <= last; {
		batch, rest, err := nextBatch(data)
		switch {
		case err != nil && last != 0:
			return fmt.Errorf("after entry %d: %w", index-1, err)
		case err != nil || batch == nil:
			return nil
		}
		for _, entry := range batch {
			if last != 0 && index > last {
				break
			}
			if entry.kind == entryChange {
				nodes, err := parseConfiguration(entry.data)
				if err != nil {
					return fmt.Errorf("entry %d: %w", index, err)
				}
				if index > e.Index {
					e.Nodes = nodes
				}
			}
			if index > e.Index { // the snapshot may have it already
				e.Term, e.Index = entry.term, index
			}
			index++
		}
		data = rest
	}
	return nil
}

// raftSum is the checksum of libraft: the polynomial of IEEE 802.3, with bits in the order of their weight and without inversions.
func raftSum(data []byte) uint32 {
	mirrored := make([]byte, len(data))
	for i, b := range data {
		mirrored[i] = bits.Reverse8(b)
	}
	return bits.Reverse32(^crc32.Update(^uint32(0), crc32.IEEETable, mirrored))
}

type logEntry struct {
	term uint64
	kind byte
	data []byte
}

// nextBatch reads the entries that were written together, which two checksums cover. Nothing but zeros is no batch.
func nextBatch(data []byte) (batch []logEntry, rest []byte, err error) {
	const sums, count = 8, 8
	if len(data) < sums+count {
		return nil, nil, nil
	}
	headSum, bodySum := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	n := binary.LittleEndian.Uint64(data[sums:])
	if n == 0 && headSum == 0 {
		return nil, nil, nil
	}
	data = data[sums:]
	if n == 0 || n > uint64(len(data)-count)/entryHeader {
		return nil, nil, fmt.Errorf("a batch of %d entries: %w", n, errFormat)
	}
	head, body := data[:count+n*entryHeader], data[count+n*entryHeader:]
	if raftSum(head) != headSum {
		return nil, nil, errors.New("the checksum of a batch is wrong")
	}
	size := 0
	for h := head[count:]; len(h) > 0; h = h[entryHeader:] {
		length := int(binary.LittleEndian.Uint32(h[12:]))
		padded := (length + 7) &^ 7
		if padded > len(body)-size {
			return nil, nil, errors.New("a batch ends too early")
		}
		batch = append(batch, logEntry{binary.LittleEndian.Uint64(h), h[8], body[size : size+length]})
		size += padded
	}
	if raftSum(body[:size]) != bodySum {
		return nil, nil, errors.New("the checksum of the entries is wrong")
	}
	return batch, body[size:], nil
}

// parseSnapshotMeta reads who shared the database when a snapshot was taken.
func parseSnapshotMeta(data []byte) ([]client.NodeInfo, error) {
	const head = 32 // format, checksum of what follows, index and length of the configuration
	if len(data) < head || binary.LittleEndian.Uint64(data) != logFormat {
		return nil, errFormat
	}
	if uint64(raftSum(data[16:])) != binary.LittleEndian.Uint64(data[8:]) {
		return nil, errors.New("the checksum is wrong")
	}
	length := binary.LittleEndian.Uint64(data[24:])
	if length > uint64(len(data)-head) {
		return nil, errors.New("it ends too early")
	}
	return parseConfiguration(data[head : head+length])
}

// The roles of nodes in a log.
var logRoles = []client.NodeRole{client.StandBy, client.Voter, client.Spare}

// parseConfiguration reads who shares the database.
func parseConfiguration(data []byte) ([]client.NodeInfo, error) {
	const head = 9
	if len(data) < head || data[0] != logFormat {
		return nil, fmt.Errorf("configuration: %w", errFormat)
	}
	n := binary.LittleEndian.Uint64(data[1:])
	data = data[head:]
	var nodes []client.NodeInfo
	for range min(n, uint64(len(data))) {
		if len(data) < 8 {
			break
		}
		id := binary.LittleEndian.Uint64(data)
		address, rest, ok := bytes.Cut(data[8:], []byte{0})
		if !ok || len(rest) == 0 || int(rest[0]) >= len(logRoles) {
			break
		}
		nodes = append(nodes, client.NodeInfo{ID: id, Address: string(address), Role: logRoles[rest[0]]})
		data = rest[1:]
	}
	if uint64(len(nodes)) != n {
		return nil, errors.New("configuration: it ends too early")
	}
	return nodes, nil
}
