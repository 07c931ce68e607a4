package router

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tableFiles name routing tables, for ip(8) too. Where a name is there twice, the first has it.
var tableFiles = []string{
	"/etc/iproute2/rt_tables", "/etc/iproute2/rt_tables.d/*.conf",
	"/usr/share/iproute2/rt_tables", "/usr/share/iproute2/rt_tables.d/*.conf", "/usr/lib/iproute2/rt_tables",
}

// tableNumber finds the number of a routing table that is given as one, or by its name in the files.
func tableNumber(files []string, table string) (uint32, bool) {
	if n, err := strconv.ParseUint(table, 10, 32); err == nil {
		return uint32(n), n != 0
	}
	switch table {
	case "main":
		return 254, true
	case "default":
		return 253, true
	}
	for _, pattern := range files {
		names, _ := filepath.Glob(pattern) // fails only for bad patterns
		for _, name := range names {
			if n, ok := tableIn(name, table); ok {
				return n, true
			}
		}
	}
	return 0, false
}

// tableIn looks for a table in one file: lines of a number and a name, # begins a comment. A file that can't be read has none.
func tableIn(file, table string) (uint32, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) != 2 || fields[1] != table {
			continue
		}
		if n, err := strconv.ParseUint(fields[0], 0, 32); err == nil && n != 0 {
			return uint32(n), true
		}
	}
	return 0, false
}
