package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

type procStat struct {
	comm   string
	state  string
	parent int
	start  uint64
}

// readStat parses /proc/PID/stat (proc(5)).
func readStat(path string) (procStat, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return procStat{}, err
	}
	// The command name stands in parentheses and may contain both blanks and parentheses.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("%s: no command name", path)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("%s: %d fields after the command name", path, len(fields))
	}
	stat := procStat{comm: string(data[open+1 : end]), state: fields[0]}
	if stat.parent, err = strconv.Atoi(fields[1]); err != nil {
		return procStat{}, fmt.Errorf("%s: %w", path, err)
	}
	if stat.start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return procStat{}, fmt.Errorf("%s: %w", path, err)
	}
	return stat, nil
}

// allPIDs lists the processes of this machine.
func allPIDs() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
