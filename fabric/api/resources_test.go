package api

import (
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

func TestServerConfig(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	server, etag, err := m.unix.GetServer(t.Context())
	must(t, err)
	if server.Auth != "trusted" || server.Environment.ServerName != "n1" || !server.Environment.ServerClustered {
		t.Fatalf("got %+v", server)
	}
	put := server.Writable()
	put.Config["core.bgp_asn"], put.Config["core.bgp_routerid"], put.Config["user.note"] = "64512", "192.0.2.1", "x"
	must(t, m.unix.UpdateServer(t.Context(), put, etag))
	refused(t, m.unix.UpdateServer(t.Context(), put, etag), fabric.CodeStale, "stale")

	other, _, err := m.unix.Target("n2").GetServer(t.Context())
	must(t, err)
	if other.Config["core.bgp_asn"] != "64512" || other.Config["core.bgp_routerid"] != "" {
		t.Fatalf("config of n2: %v", other.Config)
	}
	must(t, m.unix.PatchServer(t.Context(), incusapi.ServerPut{Config: incusapi.ConfigMap{"user.note": ""}}, ""))
	server, _, err = m.unix.GetServer(t.Context())
	must(t, err)
	if want := (incusapi.ConfigMap{"core.bgp_asn": "64512", "core.bgp_routerid": "192.0.2.1"}); !reflect.DeepEqual(server.Config, want) {
		t.Fatalf("config: %v, want %v", server.Config, want)
	}
	err = m.unix.PatchServer(t.Context(), incusapi.ServerPut{Config: incusapi.ConfigMap{"core.bgp_as": "1"}}, "")
	refused(t, err, fabric.CodeInvalid, "unknown-key")
	if !strings.Contains(err.Error(), `did you mean "core.bgp_asn"`) {
		t.Fatal(err)
	}
}

func TestBootstrap(t *testing.T) {
	f := newFixture(t, "n1")
	m := f.members["n1"]
	cluster, _, err := m.unix.GetCluster(t.Context())
	must(t, err)
	if cluster.Enabled {
		t.Fatal("in a cluster already")
	}
	_, err = m.unix.GetInstances(t.Context(), "")
	refused(t, err, fabric.CodeUnavailable, "not-in-cluster")
	_, _, err = m.unix.GetServer(t.Context())
	must(t, err)
	_, err = m.unix.Join(t.Context(), "no token", "192.0.2.1:8443")
	refused(t, err, fabric.CodeInvalid, "bad-token")
	op, err := m.unix.Bootstrap(t.Context(), "n1", "192.0.2.1:8443")
	wait(t, op, err)
	_, err = m.unix.Bootstrap(t.Context(), "n1", "192.0.2.1:8443")
	refused(t, err, fabric.CodeConflict, "already-in-cluster")

	const joinToken = "eyJzZXJ2ZXJfbmFtZSI6Im4xIiwiZmluZ2VycHJpbnQiOiJhYiIsImFkZHJlc3NlcyI6WyIxOTIuMC4yLjI6ODQ0MyJdLCJzZWNyZXQiOiJzIiwiZXhwaXJlc19hdCI6IjIwMzAtMDEtMDFUMDA6MDA6MDBaIn0="
	_, err = m.unix.Join(t.Context(), joinToken, "192.0.2.1:8443")
	refused(t, err, fabric.CodeConflict, "already-in-cluster")
	f.mu.Lock()
	m.removed = true
	f.mu.Unlock()
	op, err = m.unix.Join(t.Context(), joinToken, "192.0.2.1:8443")
	must(t, err)
	refused(t, op.Wait(t.Context()), fabric.CodeForbidden, "bad-token") // that is the fake's word: the request got through
}

func TestFailedOperationKeepsItsError(t *testing.T) {
	f := newFixture(t, "n1")
	token, err := f.members["n1"].AddToken(t.Context(), "n9")
	must(t, err)
	op, err := f.members["n1"].unix.Join(t.Context(), token, "192.0.2.1:8443")
	must(t, err)
	err = op.Wait(t.Context())
	refused(t, err, fabric.CodeForbidden, "bad-token")
	if !strings.HasSuffix(err.Error(), "; get a new one") || op.Err != err.Error() {
		t.Fatalf("got %q and %q", err, op.Err)
	}
}

func TestMembers(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	m.setOffline("n2", true)
	all, err := m.unix.GetMembers(t.Context())
	must(t, err)
	if len(all) != 2 || all[0].Status != "Online" || all[1].Status != "Offline" || !slices.Contains(all[0].Roles, "database-leader") {
		t.Fatalf("got %+v", all)
	}
	one, etag, err := m.unix.GetMember(t.Context(), "n2")
	must(t, err)
	w := one.Writable()
	w.Description, w.FailureDomain, w.Config = "rack 2", "r2", incusapi.ConfigMap{"scheduler.instance": "manual"}
	must(t, m.unix.UpdateMember(t.Context(), "n2", w, etag))
	one, _, err = m.unix.GetMember(t.Context(), "n2")
	must(t, err)
	if one.FailureDomain != "r2" || one.Config["scheduler.instance"] != "manual" {
		t.Fatalf("got %+v", one)
	}
	w.Roles = []string{"database-client"}
	refused(t, m.unix.UpdateMember(t.Context(), "n2", w, ""), fabric.CodeNotSupported, "roles")
	refused(t, m.unix.RemoveMember(t.Context(), "n2", false), fabric.CodeConflict, "in-use")
	must(t, m.unix.RemoveMember(t.Context(), "n2", true))
	_, _, err = m.unix.GetMember(t.Context(), "n2")
	refused(t, err, fabric.CodeNotFound, "not-found")
}

func TestTokens(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	c := f.members["n1"].unix
	token, err := c.AddMember(t.Context(), "n3")
	must(t, err)
	if token.ServerName != "n3" || token.Secret == "" || token.Fingerprint != fabric.Fingerprint(f.members["n1"].pem) {
		t.Fatalf("got %+v", token)
	}
	// Every member lists it, without the secret, and revokes it.
	ops, err := f.members["n2"].unix.GetOperations(t.Context())
	must(t, err)
	if len(ops) != 1 || ops[0].Class != "token" || ops[0].Metadata["secret"] != "" {
		t.Fatalf("got %+v", ops)
	}
	must(t, f.members["n2"].unix.DeleteOperation(t.Context(), ops[0].ID))
	if n := len(f.store.Snapshot().Tokens()); n != 0 {
		t.Fatalf("%d tokens are left", n)
	}
	_, err = c.AddMember(t.Context(), "n2")
	refused(t, err, fabric.CodeConflict, "exists")
	_, err = c.AddMember(t.Context(), "%")
	refused(t, err, fabric.CodeInvalid, "bad-name")
}

func TestCertificates(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	token, err := m.unix.AddClientToken(t.Context(), "laptop")
	must(t, err)
	client := m.tlsClient(t, "laptop")
	_, err = client.GetInstances(t.Context(), "")
	refused(t, err, fabric.CodeForbidden, "not-trusted")
	server, _, err := client.GetServer(t.Context())
	must(t, err)
	if server.Auth != "untrusted" || server.Config != nil || server.Environment.ServerName != "" {
		t.Fatalf("an untrusted client sees %+v", server)
	}
	must(t, client.UseClientToken(t.Context(), "laptop", token.String()))
	_, err = client.GetInstances(t.Context(), "")
	must(t, err)
	refused(t, m.tlsClient(t, "thief").UseClientToken(t.Context(), "thief", token.String()), fabric.CodeForbidden, "bad-token")

	all, err := client.GetCertificates(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].Name != "laptop" || all[0].Type != "client" {
		t.Fatalf("got %+v", all)
	}
	one, etag, err := client.GetCertificate(t.Context(), all[0].Fingerprint[:12])
	must(t, err)
	w := one.Writable()
	w.Name = "old laptop"
	must(t, client.UpdateCertificate(t.Context(), one.Fingerprint, w, etag))
	must(t, m.unix.DeleteCertificate(t.Context(), one.Fingerprint))
	_, err = client.GetInstances(t.Context(), "")
	refused(t, err, fabric.CodeForbidden, "not-trusted")

	_, text := newCertificate(t, "other", farFuture)
	must(t, m.unix.AddCertificate(t.Context(), CertificatesPost{CertificatesPost: incusapi.CertificatesPost{
		CertificatePut: incusapi.CertificatePut{Name: "other", Type: "client", Certificate: text},
	}}))
}

func TestProfiles(t *testing.T) {
	m := bootstrapped(t, "n1").members["n1"]
	must(t, m.unix.CreateProfile(t.Context(), incusapi.ProfilesPost{Name: "web", ProfilePut: incusapi.ProfilePut{Config: incusapi.ConfigMap{"limits.memory": "64MiB"}}}))
	p, etag, err := m.unix.GetProfile(t.Context(), "web")
	must(t, err)
	w := p.Writable()
	w.Description = "web servers"
	must(t, m.unix.UpdateProfile(t.Context(), "web", w, etag))
	refused(t, m.unix.UpdateProfile(t.Context(), "web", w, etag), fabric.CodeStale, "stale")
	all, err := m.unix.GetProfiles(t.Context())
	must(t, err)
	if len(all) != 2 || all[1].Description != "web servers" || all[1].Config["limits.memory"] != "64MiB" {
		t.Fatalf("got %+v", all)
	}
	must(t, m.unix.DeleteProfile(t.Context(), "web"))
	refused(t, m.unix.DeleteProfile(t.Context(), "default"), fabric.CodeForbidden, "default-profile")
}

func TestNetworks(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	c := m.unix
	must(t, c.CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "web0"}))
	n, etag, err := c.GetNetwork(t.Context(), "web0")
	must(t, err)
	before := n.Config["ipv4.address"]
	if _, err := netip.ParsePrefix(before); err != nil || n.Type != "bridge" || n.Status != "Created" || len(n.Locations) != 2 {
		t.Fatalf("got %+v", n)
	}
	must(t, c.UpdateNetwork(t.Context(), "web0", incusapi.NetworkPut{Config: incusapi.ConfigMap{"ipv4.nat": "true"}}, etag))
	n, _, err = c.GetNetwork(t.Context(), "web0")
	must(t, err)
	if n.Config["ipv4.address"] != before || n.Config["ipv4.nat"] != "true" {
		t.Fatalf("got %+v", n)
	}

	own := incusapi.NetworkPut{Config: incusapi.ConfigMap{"bridge.external_interfaces": "eth1"}}
	refused(t, c.CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "ext0", NetworkPut: own}), fabric.CodeInvalid, "member-specific")
	must(t, c.Target("n1").CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "ext0", NetworkPut: own}))
	must(t, c.Target("n2").CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "ext0"}))
	refused(t, c.Target("n2").CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "ext0"}), fabric.CodeConflict, "exists")
	n, _, err = c.GetNetwork(t.Context(), "ext0")
	must(t, err)
	if n.Status != "Pending" {
		t.Fatalf("status %s", n.Status)
	}
	must(t, c.CreateNetwork(t.Context(), incusapi.NetworksPost{Name: "ext0"}))
	n, etag, err = c.Target("n1").GetNetwork(t.Context(), "ext0")
	must(t, err)
	if n.Status != "Created" || n.Config["bridge.external_interfaces"] != "eth1" {
		t.Fatalf("got %+v", n)
	}
	put := n.Writable()
	put.Config["bridge.external_interfaces"] = "eth2"
	must(t, c.Target("n1").UpdateNetwork(t.Context(), "ext0", put, etag))
	put.Config["ipv4.nat"] = "true"
	refused(t, c.Target("n1").UpdateNetwork(t.Context(), "ext0", put, ""), fabric.CodeInvalid, "not-member-specific")

	m.launch(t, "c1", "")
	leases, err := c.GetNetworkLeases(t.Context(), "fabbr0")
	must(t, err)
	if len(leases) != 4 || leases[2].Address != "10.1.0.2" || leases[2].Location != "n1" {
		t.Fatalf("got %+v", leases)
	}
	eventually(t, "network up", func() bool {
		state, err := c.GetNetworkState(t.Context(), "fabbr0")
		return err == nil && state.State == "up" && len(state.Addresses) == 2
	})
	// Another subnet numbers its instances anew.
	n, etag, err = c.GetNetwork(t.Context(), "fabbr0")
	must(t, err)
	put = n.Writable()
	put.Config["ipv4.address"] = "10.2.0.1/24"
	must(t, c.UpdateNetwork(t.Context(), "fabbr0", put, etag))
	i, _ := m.store.Snapshot().Instance("c1")
	if a, _ := i.NICs[0].Address(addr("0.0.0.0")); a != addr("10.2.0.2") {
		t.Fatalf("address %s", a)
	}
	err = c.DeleteNetwork(t.Context(), "fabbr0")
	refused(t, err, fabric.CodeConflict, "in-use")
	must(t, c.DeleteNetwork(t.Context(), "web0"))
}

func TestPools(t *testing.T) {
	m := bootstrapped(t, "n1", "n2").members["n1"]
	c := m.unix
	source := incusapi.StoragePoolPut{Config: incusapi.ConfigMap{"source": "/srv/a"}}
	must(t, c.Target("n1").CreatePool(t.Context(), incusapi.StoragePoolsPost{Name: "data", Driver: "dir", StoragePoolPut: source}))
	must(t, c.CreatePool(t.Context(), incusapi.StoragePoolsPost{Name: "data", Driver: "dir"}))
	p, etag, err := c.Target("n1").GetPool(t.Context(), "data")
	must(t, err)
	if p.Config["source"] != "/srv/a" || p.Status != "Created" {
		t.Fatalf("got %+v", p)
	}
	put := p.Writable()
	put.Config["source"] = "/srv/b"
	refused(t, c.Target("n1").UpdatePool(t.Context(), "data", put, etag), fabric.CodeConflict, "read-only")
	must(t, c.UpdatePool(t.Context(), "data", incusapi.StoragePoolPut{Config: incusapi.ConfigMap{"user.a": "b"}}, etag))
	must(t, c.DeletePool(t.Context(), "data"))
	refused(t, c.CreatePool(t.Context(), incusapi.StoragePoolsPost{Name: "z", Driver: "zfs"}), fabric.CodeNotSupported, "storage-driver")

	m.launch(t, "c1", "n2")
	volumes, err := c.GetVolumes(t.Context(), "local")
	must(t, err)
	if len(volumes) != 1 || volumes[0].Name != "c1" || volumes[0].Location != "n2" {
		t.Fatalf("got %+v", volumes)
	}
	all, err := c.GetPools(t.Context())
	must(t, err)
	if len(all) != 1 || !slices.Contains(all[0].UsedBy, "/1.0/instances/c1") {
		t.Fatalf("got %+v", all)
	}
}

func TestProjects(t *testing.T) {
	c := bootstrapped(t, "n1").members["n1"].unix
	all, err := c.GetProjects(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].Name != "default" {
		t.Fatalf("got %+v", all)
	}
	_, _, err = c.GetProject(t.Context(), "other")
	refused(t, err, fabric.CodeNotFound, "not-found")
}

func TestImages(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	c := f.members["n1"].unix
	upload := func(up ImageUpload) string {
		op, err := c.UploadImage(t.Context(), up)
		fingerprint, _ := wait(t, op, err).Metadata["fingerprint"].(string)
		return fingerprint
	}
	file := func(name, content string) fabric.ImageFile {
		return fabric.ImageFile{Name: name, Size: -1, Body: io.NopCloser(strings.NewReader(content))}
	}
	unified := upload(ImageUpload{Filename: "a.tar.xz", Properties: map[string]string{"os": "test & more"}, Aliases: []string{"test/a"}, Files: []fabric.ImageFile{file("unified", "tarball")}})
	split := upload(ImageUpload{Files: []fabric.ImageFile{file("metadata", "meta"), file("rootfs", "root")}})
	image, etag, err := c.GetImage(t.Context(), unified[:8])
	must(t, err)
	if image.Properties["os"] != "test & more" || image.Filename != "a.tar.xz" || image.Aliases[0].Name != "test/a" || image.Size != 7 {
		t.Fatalf("got %+v", image)
	}
	w := image.Writable()
	w.Public = true
	must(t, c.UpdateImage(t.Context(), unified, w, etag))
	_, err = c.UploadImage(t.Context(), ImageUpload{Files: []fabric.ImageFile{file("unified", "tarball")}})
	refused(t, err, fabric.CodeConflict, "exists")
	_, err = c.UploadImage(t.Context(), ImageUpload{Files: []fabric.ImageFile{file("rootfs", "root"), file("metadata", "meta")}})
	refused(t, err, fabric.CodeInvalid, "bad-form")

	// The member that does not have the files asks one that has.
	must(t, f.store.Report(t.Context(), "n1", []fabric.Condition{
		{Object: fabric.Key{Kind: fabric.KindImage, Name: split}, Member: "n1", Type: fabric.ConditionPresent, OK: true},
		{Object: fabric.Key{Kind: fabric.KindImage, Name: unified}, Member: "n1", Type: fabric.ConditionPresent, OK: true},
	}))
	f.members["n1"].hold(true, "")
	for _, from := range []string{"n1", "n2"} {
		if got := export(t, f.members[from].unix, split); !reflect.DeepEqual(got, []string{"metadata=meta", "rootfs=root"}) {
			t.Fatalf("from %s: %v", from, got)
		}
		if got := export(t, f.members[from].unix, unified); !reflect.DeepEqual(got, []string{"a.tar.xz=tarball"}) {
			t.Fatalf("from %s: %v", from, got)
		}
	}

	must(t, c.CreateImageAlias(t.Context(), incusapi.ImageAliasesPost{ImageAliasesEntry: incusapi.ImageAliasesEntry{
		Name: "two", ImageAliasesEntryPut: incusapi.ImageAliasesEntryPut{Target: split[:12]},
	}}))
	alias, etag, err := c.GetImageAlias(t.Context(), "test/a")
	must(t, err)
	must(t, c.UpdateImageAlias(t.Context(), "test/a", incusapi.ImageAliasesEntryPut{Target: split, Description: "d"}, etag))
	if alias.Target != unified {
		t.Fatalf("got %+v", alias)
	}
	must(t, c.DeleteImageAlias(t.Context(), "test/a"))
	op, err := c.DeleteImage(t.Context(), split)
	wait(t, op, err)
	aliases, err := c.GetImageAliases(t.Context())
	must(t, err)
	images, err := c.GetImages(t.Context())
	must(t, err)
	if len(aliases) != 1 || len(images) != 2 {
		t.Fatalf("got %+v and %+v", aliases, images)
	}
}

func export(t *testing.T, c *Client, fingerprint string) []string {
	t.Helper()
	next, end, err := c.ExportImage(t.Context(), fingerprint)
	must(t, err)
	defer end()
	var got []string
	for {
		f, err := next()
		if err == io.EOF {
			return got
		}
		must(t, err)
		data, err := io.ReadAll(f.Body)
		must(t, err)
		got = append(got, f.Name+"="+string(data))
	}
}

func TestPeersAndRoutes(t *testing.T) {
	f := bootstrapped(t, "n1", "n2")
	m := f.members["n1"]
	c := m.unix
	password := "s3cret-of-the-peer"
	must(t, c.CreateBGPPeer(t.Context(), BGPPeersPost{Name: "tor1", BGPPeerPut: BGPPeerPut{Address: addr("192.0.2.254"), ASN: 64601, Password: &password}}))
	p, etag, err := c.GetBGPPeer(t.Context(), "tor1")
	must(t, err)
	if p.Password != nil || !p.HasPassword || len(p.Sessions) != 2 || p.Sessions[0].Reason != "no-report" {
		t.Fatalf("got %+v", p)
	}
	_, e := m.raw(t, "GET", "/1.0/bgp/peers?recursion=1", "")
	if strings.Contains(string(e.Metadata), password) {
		t.Fatal("the password is shown")
	}
	put := p.BGPPeerPut
	put.HoldTime = 3
	must(t, c.UpdateBGPPeer(t.Context(), "tor1", put, etag))
	stored, _ := f.store.Snapshot().Peer("tor1")
	if stored.Password != password || stored.HoldTime != 3 {
		t.Fatalf("got %+v", stored)
	}

	key, svc := fabric.Key{Kind: fabric.KindPeer, Name: "tor1"}, fabric.Key{Kind: fabric.KindAnycast, Name: "dns"}
	must(t, c.CreateAnycast(t.Context(), AnycastsPost{Name: "dns", AnycastPut: AnycastPut{
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.53/32")}, Check: AnycastCheck{Type: "tcp", Port: 53},
	}}))
	op, err := c.CreateInstance(t.Context(), func() InstancesPost {
		p := newInstancePost("d1", true)
		p.Config = incusapi.ConfigMap{"anycast": "dns"}
		return p
	}())
	wait(t, op, err)
	m.hold(true, "")
	reports := f.store.Reports().Of(instanceKey("d1"))
	routes := []fabric.RouteState{{
		Prefix: netip.MustParsePrefix("203.0.113.53/32"), Kind: fabric.AnnounceAnycast, Owner: svc, Up: true,
		Peers: []fabric.RoutePeer{{Peer: "tor1", Announced: true}}, Copies: []fabric.CopyState{{Instance: "d1", Device: "eth0", Healthy: true}},
	}}
	must(t, f.store.Report(t.Context(), "n1", append(slices.Clone(reports),
		fabric.Condition{Object: key, Member: "n1", Type: fabric.ConditionSession, OK: true}.WithData(fabric.PeerState{Name: "tor1", State: "established", Sent: 1}),
		fabric.Condition{Object: svc, Member: "n1", Type: fabric.ConditionRoutes, OK: true}.WithData(routes))))

	sessions, err := c.GetBGPSessions(t.Context())
	must(t, err)
	if len(sessions) != 2 || sessions[0].State != "established" || sessions[1].Reason != "no-report" {
		t.Fatalf("got %+v", sessions)
	}
	got, err := c.GetRoutes(t.Context())
	must(t, err)
	if len(got) != 1 || got[0].Member != "n1" || !got[0].Up || got[0].Peers[0].Peer != "tor1" {
		t.Fatalf("got %+v", got)
	}
	a, etag, err := c.GetAnycast(t.Context(), "dns")
	must(t, err)
	if want := []AnycastCopy{{Instance: "d1", Member: "n1", Healthy: true, Addresses: []AnycastAddress{{
		Address: routes[0].Prefix, Device: "eth0", Used: true, Process: "alive", Link: "up", Check: "none", Weight: 1, Announced: []string{"tor1"},
	}}}}; !reflect.DeepEqual(a.Copies, want) || a.Weight != fabric.WeightNone || a.Check.Interval != 1000 {
		t.Fatalf("got %+v", a)
	}
	a.Check.Port = 5353
	must(t, c.UpdateAnycast(t.Context(), "dns", a.AnycastPut, etag))
	refused(t, c.DeleteAnycast(t.Context(), "dns"), fabric.CodeConflict, "in-use")
	all, err := c.GetAnycasts(t.Context())
	must(t, err)
	peers, err := c.GetBGPPeers(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].Check.Port != 5353 || len(peers) != 1 {
		t.Fatalf("got %+v and %+v", all, peers)
	}
	b, err := c.GetBGP(t.Context())
	must(t, err)
	if b.Worker.PID != 42 {
		t.Fatalf("got %+v", b)
	}
	must(t, c.DeleteBGPPeer(t.Context(), "tor1"))
}
