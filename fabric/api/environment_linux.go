package api

import (
	"os"
	"runtime"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"golang.org/x/sys/unix"

	"netfabric/fabric"
)

// architecture is this machine's, in the words of uname(2).
func architecture() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// environment is what the server says of the host and of itself.
func (s *Server) environment(r *request) incusapi.ServerEnvironment {
	e := incusapi.ServerEnvironment{
		Addresses: []string{}, Architectures: []string{architecture()}, KernelArchitecture: architecture(),
		Driver: "lxc", Firewall: "nftables", Project: "default",
		KernelFeatures: map[string]string{}, LXCFeatures: map[string]string{},
		Server: "fabric", ServerVersion: s.Version, ServerClustered: r.status.Bootstrapped, ServerEventMode: "full-mesh", ServerName: r.status.Self,
		ServerPid: os.Getpid(), StorageSupportedDrivers: []incusapi.ServerStorageDriverInfo{},
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel, e.KernelVersion = unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:])
	}
	e.OSName, e.OSVersion = osRelease()
	if m, ok := r.snap.Member(r.status.Self); ok {
		e.Addresses = append(e.Addresses, m.Address)
	}
	e.Certificate = s.Cluster.CertificatePEM()
	e.CertificateFingerprint = fabric.Fingerprint(e.Certificate)
	var used []string
	for driver := range fabric.PoolKeys {
		e.StorageSupportedDrivers = append(e.StorageSupportedDrivers, incusapi.ServerStorageDriverInfo{Name: driver, Version: "1"})
		for _, p := range r.snap.Pools() {
			if p.Driver == driver {
				used = append(used, driver)
				break
			}
		}
	}
	e.Storage = strings.Join(used, " | ")
	if len(used) > 0 {
		e.StorageVersion = strings.TrimSuffix(strings.Repeat("1 | ", len(used)), " | ")
	}
	return e
}

// osRelease is name and version of the distribution, see os-release(5).
func osRelease() (name, version string) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"`); key {
		case "NAME":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}
