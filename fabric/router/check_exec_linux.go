package router

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"netfabric/fabric"
	"netfabric/fabric/inside"
)

// execCheck runs the command of a check in the instance whose init is p, with the address that it is about in its environment. note is what
// it said of its success.
func execCheck(run *inside.Runner, p fabric.Process, c fabric.Check, address netip.Addr) (failure, note string) {
	command, err := fabric.SplitCommand(c.Command)
	if err != nil || len(command) == 0 {
		return fmt.Sprintf("exec: %q is no command", c.Command), "" // validated with the check
	}
	status, line, err := run.Run(p, command, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "FABRIC_ADDRESS=" + address.String(),
	}, time.Duration(c.Timeout)*time.Millisecond)
	what := "exec " + command[0] + ": "
	if line != "" {
		line = ": " + line
	}
	switch {
	case errors.Is(err, inside.ErrTimeout):
		return what + "not done within " + strconv.Itoa(c.Timeout) + " ms" + line, ""
	case err != nil:
		return what + err.Error(), ""
	case status > 128:
		return fmt.Sprintf("%skilled by signal %d%s", what, status-128, line), ""
	case status != 0:
		return fmt.Sprintf("%sexit status %d%s", what, status, line), ""
	}
	return "", "success" + line
}
