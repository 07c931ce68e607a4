package vrrp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio"
)

// sysctlRoot is where the kernel's settings are files.
const sysctlRoot = "/proc/sys"

func confPath(family, name, key string) string {
	return filepath.Join("net", family, "conf", name, key)
}

// keeper changes settings and puts them back. What they were before is kept in a file: whoever has changed them may not be there to put them back.
type keeper struct {
	root    string // sysctlRoot
	file    string // empty: nothing outlives this process
	now     string // names this boot and network namespace: what another one had is not put back
	before  map[string]changedSysctl
	uplinks []string // that gateways have had, sorted
}

// changedSysctl is a setting that was changed. It is put back only while it is as we have set it.
type changedSysctl struct {
	Before string `json:"before"`
	Set    string `json:"set"`
}

// rememberedSysctls is the file.
type rememberedSysctls struct {
	Where   string                   `json:"where"`
	Changed map[string]changedSysctl `json:"changed"`
	Uplinks []string                 `json:"uplinks,omitempty"`
}

// openKeeper takes up what an earlier run has changed. A file that can't be read is an error, and the keeper works without it.
func openKeeper(root, file string) (*keeper, error) {
	k := &keeper{root: root, file: file, before: map[string]changedSysctl{}}
	boot, err1 := os.ReadFile(filepath.Join(sysctlRoot, "kernel/random/boot_id"))
	namespace, err2 := os.Readlink("/proc/self/ns/net")
	if err := errors.Join(err1, err2); err != nil {
		return k, fmt.Errorf("tell this boot from others: %w", err)
	}
	k.now = strings.TrimSpace(string(boot)) + " " + namespace
	if file == "" {
		return k, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	var old rememberedSysctls
	if err == nil {
		err = json.Unmarshal(data, &old)
	}
	if err != nil {
		return k, fmt.Errorf("read which settings of the kernel an earlier run has changed: %w", err)
	}
	if old.Where == k.now && old.Changed != nil {
		k.before, k.uplinks = old.Changed, old.Uplinks
	}
	return k, nil
}

func (k *keeper) read(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(k.root, path))
	return strings.TrimSpace(string(b)), err
}

func (k *keeper) write(path, value string) error {
	return os.WriteFile(filepath.Join(k.root, path), []byte(value), 0o644)
}

// apply makes the settings as wanted. What is of interfaces that are not there is left out. With prune, what is not wanted any more is put back.
func (k *keeper) apply(s setup, prune bool) error {
	errs := []error{k.keepUplinks(s, prune)}
	s = s.and(k.uplinks)
	more, err := k.forwarding6(s.forward6)
	want := append(s.sysctls, more...)
	errs = append(errs, err)
	wanted := map[string]bool{}
	for _, w := range want {
		need, err := k.needed(w)
		if err != nil || !need {
			errs = append(errs, err)
			continue
		}
		wanted[w.path] = true
		errs = append(errs, k.set(w))
	}
	if prune {
		errs = append(errs, k.putBack(wanted))
	}
	return errors.Join(errs...)
}

// keepUplinks has an uplink stay one when no default route leads to it any more, until it or the last gateway goes: others may send packets for hosts
// there, as long as they don't know of another way.
func (k *keeper) keepUplinks(s setup, prune bool) error {
	kept := slices.DeleteFunc(slices.Concat(k.uplinks, s.uplinks), func(name string) bool {
		_, err := os.Stat(filepath.Join(k.root, confPath("ipv4", name, "")))
		return errors.Is(err, fs.ErrNotExist) // the kernel has it for whatever speaks IP
	})
	if prune && s.without() {
		kept = nil
	}
	slices.Sort(kept)
	if kept = slices.Compact(kept); slices.Equal(kept, k.uplinks) {
		return nil
	}
	k.uplinks = kept
	return k.keep()
}

// needed tells whether a setting has to be ours.
func (k *keeper) needed(w sysctl) (bool, error) {
	old, err := k.read(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		delete(k.before, w.path) // the interface has gone, and its settings with it
		return false, nil
	}
	if err != nil || !w.loose {
		return err == nil, err
	}
	if was, changed := k.before[w.path]; changed {
		old = was.Before
	}
	all, err := k.read(confPath("ipv4", "all", "rp_filter")) // the higher of both is in force
	return old == "1" || old == "0" && all == "1", err
}

// set changes a setting, and remembers first what it was.
func (k *keeper) set(w sysctl) error {
	have, err := k.read(w.path)
	if err != nil || have == w.value {
		return err
	}
	if _, changed := k.before[w.path]; !changed {
		k.before[w.path] = changedSysctl{Before: have, Set: w.value}
	}
	return errors.Join(k.keep(), k.write(w.path, w.value))
}

// putBack gives settings that are not wanted any more their old values.
func (k *keeper) putBack(wanted map[string]bool) error {
	var errs []error
	forwards, err := k.read(confPath("ipv4", "all", "forwarding"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	gone := false
	for path, changed := range k.before {
		if wanted[path] {
			continue
		}
		delete(k.before, path)
		gone = true
		have, err := k.read(path)
		everywhere := forwards == "1" && strings.HasPrefix(path, "net/ipv4") && filepath.Base(path) == "forwarding"
		if err == nil && have == changed.Set && !everywhere { // somebody has turned on forwarding for all interfaces since
			err = k.write(path, changed.Before)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if gone {
		errs = append(errs, k.keep())
	}
	return errors.Join(errs...)
}

func (k *keeper) keep() error {
	if k.file == "" {
		return nil
	}
	data, err := json.Marshal(rememberedSysctls{k.now, k.before, k.uplinks})
	if err == nil {
		err = renameio.WriteFile(k.file, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember which settings of the kernel were changed: %w", err)
	}
	return nil
}

// forwarding6 is what it takes to forward IPv6 packets of the given interfaces. Since Linux 6.17 an interface can be told so. Before, the kernel
// forwards all or nothing: that is turned on, and not off again, as others may have come to rely on it.
func (k *keeper) forwarding6(interfaces []string) (all []sysctl, err error) {
	for _, name := range interfaces {
		path := confPath("ipv6", name, "force_forwarding")
		if _, err := k.read(path); err == nil {
			all = append(all, sysctl{path: path, value: "1"})
		} else if _, err := k.read(confPath("ipv6", name, "forwarding")); err == nil {
			return nil, k.forwardAll()
		}
	}
	return all, nil
}

// forwardAll turns on IPv6 forwarding for all interfaces. Those that take their default route from router advertisements would lose it then,
// unless they are told to go on (accept_ra 2, ip-sysctl in the kernel's documentation).
func (k *keeper) forwardAll() error {
	path := confPath("ipv6", "all", "forwarding")
	if have, err := k.read(path); err != nil || have == "1" {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(k.root, "net/ipv6/conf"))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		accept := confPath("ipv6", e.Name(), "accept_ra")
		if have, err := k.read(accept); err == nil && have == "1" && e.Name() != "all" && e.Name() != "default" && e.Name() != "lo" {
			errs = append(errs, k.write(accept, "2"))
		}
	}
	return errors.Join(append(errs, k.write(path, "1"))...)
}

func readSysctl(family, name, key string) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysctlRoot, confPath(family, name, key)))
	return strings.TrimSpace(string(b)), err
}

// writeSysctl leaves alone what is right already: some settings are slow to write.
func writeSysctl(family, name, key, value string) error {
	if have, err := readSysctl(family, name, key); err != nil || have == value {
		return err
	}
	return os.WriteFile(filepath.Join(sysctlRoot, confPath(family, name, key)), []byte(value), 0o644)
}
