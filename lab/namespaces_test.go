package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Somebody adds a network namespace of their own, the first since the machine was started, while there are some of ours.
func TestNamesOutliveThoseOfOthers(t *testing.T) {
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
			return err
		}
		ours := filepath.Join(netnsDir, "ours")
		if err := nameNetns("/proc/thread-self/ns/net", ours); err != nil {
			return err
		}
		if out, err := exec.Command("ip", "netns", "add", "theirs").CombinedOutput(); err != nil {
			t.Errorf("ip netns add: %v: %s", err, out)
		}
		if err := removeNetns(ours); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(ours); !os.IsNotExist(err) {
			t.Errorf("the name is still there: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
