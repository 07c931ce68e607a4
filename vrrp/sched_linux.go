package vrrp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// realTimePriority is low among real-time threads: above everything ordinary, below the kernel's own.
const realTimePriority = 10

// realTime puts the calling thread, which must be locked, under SCHED_RR. Threads made from it are ordinary again.
func realTime() error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realTimePriority, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
	if err != nil {
		return fmt.Errorf("run VRRP timers on a real-time thread: sched_setattr: %w (grant CAP_SYS_NICE or LimitRTPRIO)", err)
	}
	return nil
}
