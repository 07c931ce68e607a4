// Package realtime gives a process whose timers must not wait for others the priority for it.
package realtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Process gives all threads of the process, and those that they start, real-time priority of 1-99 (SCHED_RR, sched(7)): in a process that does
// little else, no part of the Go runtime has to wait for others then.
func Process(priority uint32) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: priority}
	for done := map[int]bool{}; ; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads of the process: %w", err)
		}
		more := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[id] {
				continue
			}
			if err := unix.SchedSetAttr(id, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("real-time priority %d for the process: %w (grant CAP_SYS_NICE or LimitRTPRIO)", priority, err)
			}
			done[id], more = true, true
		}
		if !more {
			return nil
		}
	}
}
