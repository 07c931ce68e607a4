package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const sysctlRoot = "/proc/sys/net"

// writeSysctl sets a value below net, where it differs. It tells whether it did.
func writeSysctl(path, value string) (changed bool, err error) {
	file := filepath.Join(sysctlRoot, path)
	old, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(old)) == value {
		return false, nil
	}
	return true, os.WriteFile(file, []byte(value), 0o644)
}

// ensureBridgeSysctls keeps a bridge from taking addresses or routes from what is plugged in, and from waiting for duplicates of addresses
// that are duplicates on purpose: every member has them.
func ensureBridgeSysctls(bridge string) error {
	for _, key := range []string{"accept_ra", "accept_dad", "autoconf"} {
		if _, err := writeSysctl(filepath.Join("ipv6/conf", bridge, key), "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // without IPv6 in the kernel there is nothing to switch off
		}
	}
	return nil
}

// ensureForwarding makes the member a router for the families that its networks have, and never takes that back: others may rely on it.
func ensureForwarding(plans []bridgePlan, k *kernel) error {
	want4, want6 := false, false
	for _, p := range plans {
		for _, g := range p.gateways {
			want4, want6 = want4 || g.Addr().Is4(), want6 || g.Addr().Is6()
		}
	}
	if want4 {
		if _, err := writeSysctl("ipv4/ip_forward", "1"); err != nil {
			return fmt.Errorf("turn on IPv4 forwarding: %w", err)
		}
	}
	if want6 {
		if err := keepRouterAdvertisements(k); err != nil {
			return err
		}
		if _, err := writeSysctl("ipv6/conf/all/forwarding", "1"); err != nil {
			return fmt.Errorf("turn on IPv6 forwarding: %w", err)
		}
	}
	return nil
}

// keepRouterAdvertisements lets interfaces that have their default route from router advertisements keep it when forwarding is turned on:
// accept_ra 1 then means no, 2 means yes all the same (ip-sysctl in the kernel's documentation).
func keepRouterAdvertisements(k *kernel) error {
	state, err := os.ReadFile(filepath.Join(sysctlRoot, "ipv6/conf/all/forwarding"))
	if err != nil {
		return fmt.Errorf("read whether IPv6 is forwarded: %w", err)
	}
	if strings.TrimSpace(string(state)) == "1" {
		return nil
	}
	links, err := k.h.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		key := filepath.Join("ipv6/conf", l.Attrs().Name, "accept_ra")
		old, err := os.ReadFile(filepath.Join(sysctlRoot, key))
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(old)) != "1" || l.Attrs().Name == "lo" {
			continue
		}
		if _, err := writeSysctl(key, "2"); err != nil {
			return fmt.Errorf("keep router advertisements on %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}
