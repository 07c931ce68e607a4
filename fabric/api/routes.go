package api

import (
	"net/http"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
	"netfabric/fabric/explain"
)

// routes is the whole API. The OpenAPI document is made from it.
var routes = []route{
	{"GET", "/", anyone, (*Server).getRoot, nil, []string{}, "List the versions of the API"},
	{"GET", "/1.0/openapi.json", early, (*Server).getOpenAPI, nil, nil, "Describe the API as an OpenAPI document (not in an envelope)"},
	{"GET", "/1.0", anyone, (*Server).getServer, nil, incusapi.Server{}, "Show the server, its environment and its config"},
	{"PUT", "/1.0", trusted, (*Server).putServer, incusapi.ServerPut{}, nil, "Replace the config of cluster and member"},
	{"PATCH", "/1.0", trusted, (*Server).putServer, incusapi.ServerPut{}, nil, "Change config keys of cluster and member"},
	{"GET", "/1.0/metrics", early, (*Server).getMetrics, nil, nil, "Tell how this member is, for Prometheus (not in an envelope)"},
	{"GET", "/1.0/events", early, (*Server).getEvents, nil, nil, "Listen to events over a websocket"},

	{"GET", "/1.0/operations", early, (*Server).getOperations, nil, map[string][]incusapi.Operation{}, "List the operations of this member by status"},
	{"GET", "/1.0/operations/{id}", early, (*Server).getOperation, nil, incusapi.Operation{}, "Show an operation"},
	{"DELETE", "/1.0/operations/{id}", early, (*Server).deleteOperation, nil, nil, "Cancel an operation, or revoke a token"},
	{"GET", "/1.0/operations/{id}/wait", early, (*Server).waitOperation, nil, incusapi.Operation{}, "Wait for the end of an operation"},
	{"GET", "/1.0/operations/{id}/websocket", early, (*Server).operationWebsocket, nil, nil, "Connect to a stream of an operation"},

	{"GET", "/1.0/certificates", trusted, (*Server).getCertificates, nil, []incusapi.Certificate{}, "List the trusted clients"},
	{"POST", "/1.0/certificates", anyone, (*Server).postCertificates, CertificatesPost{}, nil, "Trust a client, make a token for one, or use a token"},
	{"GET", "/1.0/certificates/{fingerprint}", trusted, (*Server).getCertificate, nil, incusapi.Certificate{}, "Show a trusted client"},
	{"PUT", "/1.0/certificates/{fingerprint}", trusted, (*Server).putCertificate, incusapi.CertificatePut{}, nil, "Replace name and description of a client"},
	{"PATCH", "/1.0/certificates/{fingerprint}", trusted, (*Server).putCertificate, incusapi.CertificatePut{}, nil, "Change name or description of a client"},
	{"DELETE", "/1.0/certificates/{fingerprint}", trusted, (*Server).deleteCertificate, nil, nil, "End the trust in a client"},

	{"GET", "/1.0/cluster", early, (*Server).getCluster, nil, incusapi.Cluster{}, "Tell whether this member is in a cluster"},
	{"PUT", "/1.0/cluster", early, (*Server).putCluster, ClusterPut{}, incusapi.Operation{}, "Form a cluster, or join one with a token"},
	{"PUT", "/1.0/cluster/certificate", trusted, (*Server).putClusterCertificate, incusapi.ClusterCertificatePut{}, nil, "Replace the certificate that all members show to clients; one is made where neither it nor a key is given"},
	{"GET", "/1.0/cluster/members", trusted, (*Server).getMembers, nil, []ClusterMember{}, "List the members"},
	{"POST", "/1.0/cluster/members", trusted, (*Server).postMembers, incusapi.ClusterMembersPost{}, incusapi.Operation{}, "Make a token with which a member can join"},
	{"GET", "/1.0/cluster/members/{name}", trusted, (*Server).getMember, nil, ClusterMember{}, "Show a member"},
	{"PUT", "/1.0/cluster/members/{name}", trusted, (*Server).putMember, incusapi.ClusterMemberPut{}, nil, "Replace description, failure domain, groups and config of a member"},
	{"PATCH", "/1.0/cluster/members/{name}", trusted, (*Server).putMember, incusapi.ClusterMemberPut{}, nil, "Change description, failure domain, groups or config of a member"},
	{"GET", "/1.0/cluster/groups", trusted, (*Server).getGroups, nil, []ClusterGroup{}, "List the groups of members"},
	{"POST", "/1.0/cluster/groups", trusted, (*Server).postGroups, ClusterGroup{}, nil, "Make a group of members"},
	{"GET", "/1.0/cluster/groups/{name}", trusted, (*Server).getGroup, nil, ClusterGroup{}, "Show a group of members"},
	{"PUT", "/1.0/cluster/groups/{name}", trusted, (*Server).putGroup, ClusterGroupPut{}, nil, "Replace description and members of a group"},
	{"PATCH", "/1.0/cluster/groups/{name}", trusted, (*Server).putGroup, ClusterGroupPut{}, nil, "Change description or members of a group"},
	{"POST", "/1.0/cluster/groups/{name}", trusted, (*Server).postGroup, ClusterGroupPost{}, nil, "Rename a group of members, also where it is used"},
	{"DELETE", "/1.0/cluster/groups/{name}", trusted, (*Server).deleteGroup, nil, nil, "Delete a group that no member is in and nothing uses"},
	{"DELETE", "/1.0/cluster/members/{name}", trusted, (*Server).deleteMember, nil, nil, "Remove a member; force=1 even when it can't be reached"},

	{"GET", "/1.0/instances", trusted, (*Server).getInstances, nil, []InstanceFull{}, "List the instances"},
	{"POST", "/1.0/instances", trusted, (*Server).postInstances, InstancesPost{}, incusapi.Operation{}, "Create an instance"},
	{"GET", "/1.0/instances/{name}", trusted, (*Server).getInstance, nil, InstanceFull{}, "Show an instance; recursion=1 with its state"},
	{"PUT", "/1.0/instances/{name}", trusted, (*Server).putInstance, incusapi.InstancePut{}, incusapi.Operation{}, "Replace profiles, config and devices of an instance"},
	{"PATCH", "/1.0/instances/{name}", trusted, (*Server).putInstance, incusapi.InstancePut{}, nil, "Change an instance"},
	{"POST", "/1.0/instances/{name}", trusted, (*Server).postInstance, nil, nil, "Rename or move an instance: not supported"},
	{"DELETE", "/1.0/instances/{name}", trusted, (*Server).deleteInstance, nil, incusapi.Operation{}, "Delete an instance; force=1 even when it runs"},
	{"GET", "/1.0/instances/{name}/state", trusted, (*Server).getInstanceState, nil, incusapi.InstanceState{}, "Show how an instance is"},
	{"PUT", "/1.0/instances/{name}/state", trusted, (*Server).putInstanceState, incusapi.InstanceStatePut{}, incusapi.Operation{}, "Start, stop or restart an instance"},
	{"POST", "/1.0/instances/{name}/exec", trusted, (*Server).postExec, incusapi.InstanceExecPost{}, incusapi.Operation{}, "Run a command in an instance"},
	{"GET", "/1.0/instances/{name}/logs", trusted, (*Server).getInstanceLogs, nil, []string{}, "List the log files of an instance"},
	{"GET", "/1.0/instances/{name}/logs/{file}", trusted, (*Server).getInstanceLog, nil, nil, "Read a log file of an instance (not in an envelope)"},

	{"GET", "/1.0/images", trusted, (*Server).getImages, nil, []incusapi.Image{}, "List the images"},
	{"POST", "/1.0/images", trusted, (*Server).postImages, nil, incusapi.Operation{}, "Import an image: a tarball, or a form with metadata and rootfs"},
	{"GET", "/1.0/images/aliases", trusted, (*Server).getAliases, nil, []incusapi.ImageAliasesEntry{}, "List the names of images"},
	{"POST", "/1.0/images/aliases", trusted, (*Server).postAliases, incusapi.ImageAliasesPost{}, nil, "Give an image a name"},
	{"GET", "/1.0/images/aliases/{name}", trusted, (*Server).getAlias, nil, incusapi.ImageAliasesEntry{}, "Show what a name stands for"},
	{"PUT", "/1.0/images/aliases/{name}", trusted, (*Server).putAlias, incusapi.ImageAliasesEntryPut{}, nil, "Make a name stand for another image"},
	{"PATCH", "/1.0/images/aliases/{name}", trusted, (*Server).putAlias, incusapi.ImageAliasesEntryPut{}, nil, "Change a name of an image"},
	{"DELETE", "/1.0/images/aliases/{name}", trusted, (*Server).deleteAlias, nil, nil, "Take a name from its image"},
	{"GET", "/1.0/images/{fingerprint}", trusted, (*Server).getImage, nil, incusapi.Image{}, "Show an image"},
	{"PUT", "/1.0/images/{fingerprint}", trusted, (*Server).putImage, incusapi.ImagePut{}, nil, "Replace what can be changed of an image"},
	{"PATCH", "/1.0/images/{fingerprint}", trusted, (*Server).putImage, incusapi.ImagePut{}, nil, "Change an image"},
	{"DELETE", "/1.0/images/{fingerprint}", trusted, (*Server).deleteImage, nil, incusapi.Operation{}, "Delete an image and its names"},
	{"GET", "/1.0/images/{fingerprint}/{file}", trusted, (*Server).exportImage, nil, nil, "Read the files of an image (file: export; not in an envelope)"},

	{"GET", "/1.0/profiles", trusted, (*Server).getProfiles, nil, []incusapi.Profile{}, "List the profiles"},
	{"POST", "/1.0/profiles", trusted, (*Server).postProfiles, incusapi.ProfilesPost{}, nil, "Create a profile"},
	{"GET", "/1.0/profiles/{name}", trusted, (*Server).getProfile, nil, incusapi.Profile{}, "Show a profile"},
	{"PUT", "/1.0/profiles/{name}", trusted, (*Server).putProfile, incusapi.ProfilePut{}, nil, "Replace config and devices of a profile"},
	{"PATCH", "/1.0/profiles/{name}", trusted, (*Server).putProfile, incusapi.ProfilePut{}, nil, "Change a profile"},
	{"DELETE", "/1.0/profiles/{name}", trusted, (*Server).deleteProfile, nil, nil, "Delete a profile"},

	{"GET", "/1.0/networks", trusted, (*Server).getNetworks, nil, []incusapi.Network{}, "List the networks"},
	{"POST", "/1.0/networks", trusted, (*Server).postNetworks, incusapi.NetworksPost{}, nil, "Create a network; with target note a member's own config"},
	{"GET", "/1.0/networks/{name}", trusted, (*Server).getNetwork, nil, incusapi.Network{}, "Show a network; with target as it is on a member"},
	{"PUT", "/1.0/networks/{name}", trusted, (*Server).putNetwork, incusapi.NetworkPut{}, nil, "Replace the config of a network; with target a member's own"},
	{"PATCH", "/1.0/networks/{name}", trusted, (*Server).putNetwork, incusapi.NetworkPut{}, nil, "Change the config of a network; with target a member's own"},
	{"DELETE", "/1.0/networks/{name}", trusted, (*Server).deleteNetwork, nil, nil, "Delete a network"},
	{"GET", "/1.0/networks/{name}/state", trusted, (*Server).getNetworkState, nil, incusapi.NetworkState{}, "Show how a network is on a member"},
	{"GET", "/1.0/networks/{name}/leases", trusted, (*Server).getNetworkLeases, nil, []incusapi.NetworkLease{}, "List the addresses in use in a network"},

	{"GET", "/1.0/storage-pools", trusted, (*Server).getPools, nil, []incusapi.StoragePool{}, "List the storage pools"},
	{"POST", "/1.0/storage-pools", trusted, (*Server).postPools, incusapi.StoragePoolsPost{}, nil, "Create a storage pool; with target note a member's own config"},
	{"GET", "/1.0/storage-pools/{name}", trusted, (*Server).getPool, nil, incusapi.StoragePool{}, "Show a storage pool; with target as it is on a member"},
	{"PUT", "/1.0/storage-pools/{name}", trusted, (*Server).putPool, incusapi.StoragePoolPut{}, nil, "Replace the config of a pool; with target a member's own"},
	{"PATCH", "/1.0/storage-pools/{name}", trusted, (*Server).putPool, incusapi.StoragePoolPut{}, nil, "Change the config of a pool; with target a member's own"},
	{"DELETE", "/1.0/storage-pools/{name}", trusted, (*Server).deletePool, nil, nil, "Delete a storage pool"},
	{"GET", "/1.0/storage-pools/{name}/volumes", trusted, (*Server).getVolumes, nil, []incusapi.StorageVolume{}, "List the volumes of a pool"},
	{"GET", "/1.0/storage-pools/{name}/volumes/{type}", trusted, (*Server).getVolumes, nil, []incusapi.StorageVolume{}, "List the volumes of a type in a pool"},
	{"GET", "/1.0/storage-pools/{name}/volumes/{type}/{volume}", trusted, (*Server).getVolume, nil, incusapi.StorageVolume{}, "Show a volume"},

	{"GET", "/1.0/projects", trusted, (*Server).getProjects, nil, []incusapi.Project{}, "List the projects"},
	{"GET", "/1.0/projects/{name}", trusted, (*Server).getProject, nil, incusapi.Project{}, "Show a project"},

	{"GET", "/1.0/bgp", trusted, (*Server).getBGP, nil, BGP{}, "Show how this member speaks BGP"},
	{"GET", "/1.0/bgp/peers", trusted, (*Server).getPeers, nil, []BGPPeer{}, "List the BGP peers with the members' sessions"},
	{"POST", "/1.0/bgp/peers", trusted, (*Server).postPeers, BGPPeersPost{}, nil, "Create a BGP peer"},
	{"GET", "/1.0/bgp/peers/{name}", trusted, (*Server).getPeer, nil, BGPPeer{}, "Show a BGP peer with the members' sessions"},
	{"PUT", "/1.0/bgp/peers/{name}", trusted, (*Server).putPeer, BGPPeerPut{}, nil, "Replace a BGP peer"},
	{"PATCH", "/1.0/bgp/peers/{name}", trusted, (*Server).putPeer, BGPPeerPut{}, nil, "Change a BGP peer"},
	{"DELETE", "/1.0/bgp/peers/{name}", trusted, (*Server).deletePeer, nil, nil, "Delete a BGP peer"},
	{"GET", "/1.0/bgp/routes", trusted, (*Server).getBGPRoutes, nil, fabric.BGPRoutes{}, "List paths of a BGP table of this member, or of the target (table: local, best, in, out or installed; peer, prefix, limit)"},
	{"GET", bfdProfilesURL, trusted, (*Server).getBFDProfiles, nil, []BFDProfile{}, "List the BFD profiles"},
	{"POST", bfdProfilesURL, trusted, (*Server).postBFDProfiles, BFDProfilesPost{}, nil, "Create a BFD profile"},
	{"GET", bfdProfilesURL + "/{name}", trusted, (*Server).getBFDProfile, nil, BFDProfile{}, "Show a BFD profile"},
	{"PUT", bfdProfilesURL + "/{name}", trusted, (*Server).putBFDProfile, BFDProfilePut{}, nil, "Replace a BFD profile"},
	{"PATCH", bfdProfilesURL + "/{name}", trusted, (*Server).putBFDProfile, BFDProfilePut{}, nil, "Change a BFD profile"},
	{"DELETE", bfdProfilesURL + "/{name}", trusted, (*Server).deleteBFDProfile, nil, nil, "Delete a BFD profile"},
	{"GET", "/1.0/bgp/rpki", trusted, (*Server).getRPKIs, nil, []RPKI{}, "List the RPKI caches"},
	{"POST", "/1.0/bgp/rpki", trusted, (*Server).postRPKIs, RPKIsPost{}, nil, "Make an RPKI cache"},
	{"GET", "/1.0/bgp/rpki/{name}", trusted, (*Server).getRPKI, nil, RPKI{}, "Show an RPKI cache"},
	{"PUT", "/1.0/bgp/rpki/{name}", trusted, (*Server).putRPKI, RPKIPut{}, nil, "Replace an RPKI cache"},
	{"PATCH", "/1.0/bgp/rpki/{name}", trusted, (*Server).putRPKI, RPKIPut{}, nil, "Change an RPKI cache"},
	{"DELETE", "/1.0/bgp/rpki/{name}", trusted, (*Server).deleteRPKI, nil, nil, "Remove an RPKI cache"},
	{"GET", "/1.0/bgp/policies", trusted, (*Server).getPolicies, nil, []BGPPolicy{}, "List the BGP policies, built-in ones among them"},
	{"POST", "/1.0/bgp/policies", trusted, (*Server).postPolicies, BGPPoliciesPost{}, nil, "Create a BGP policy"},
	{"GET", "/1.0/bgp/policies/{name}", trusted, (*Server).getPolicy, nil, BGPPolicy{}, "Show a BGP policy"},
	{"PUT", "/1.0/bgp/policies/{name}", trusted, (*Server).putPolicy, BGPPolicyPut{}, nil, "Replace a BGP policy"},
	{"PATCH", "/1.0/bgp/policies/{name}", trusted, (*Server).putPolicy, BGPPolicyPut{}, nil, "Change a BGP policy"},
	{"DELETE", "/1.0/bgp/policies/{name}", trusted, (*Server).deletePolicy, nil, nil, "Delete a BGP policy"},
	{"GET", "/1.0/bgp/sessions", trusted, (*Server).getSessions, nil, []BGPSession{}, "List the BGP sessions of all members"},

	{"GET", "/1.0/anycast", trusted, (*Server).getAnycasts, nil, []Anycast{}, "List the anycast services with their copies"},
	{"POST", "/1.0/anycast", trusted, (*Server).postAnycasts, AnycastsPost{}, nil, "Create an anycast service"},
	{"GET", "/1.0/anycast/{name}", trusted, (*Server).getAnycast, nil, Anycast{}, "Show an anycast service with its copies"},
	{"PUT", "/1.0/anycast/{name}", trusted, (*Server).putAnycast, AnycastPut{}, nil, "Replace an anycast service"},
	{"PATCH", "/1.0/anycast/{name}", trusted, (*Server).putAnycast, AnycastPut{}, nil, "Change an anycast service"},
	{"DELETE", "/1.0/anycast/{name}", trusted, (*Server).deleteAnycast, nil, nil, "Delete an anycast service"},

	{"GET", "/1.0/gateways", trusted, (*Server).getGateways, nil, []Gateway{}, "List the gateways and how they are on their members"},
	{"POST", "/1.0/gateways", trusted, (*Server).postGateways, GatewaysPost{}, nil, "Create a gateway"},
	{"GET", "/1.0/gateways/{name}", trusted, (*Server).getGateway, nil, Gateway{}, "Show a gateway and how it is on its members"},
	{"PUT", "/1.0/gateways/{name}", trusted, (*Server).putGateway, GatewayPut{}, nil, "Replace a gateway"},
	{"PATCH", "/1.0/gateways/{name}", trusted, (*Server).putGateway, GatewayPut{}, nil, "Change a gateway"},
	{"DELETE", "/1.0/gateways/{name}", trusted, (*Server).deleteGateway, nil, nil, "Delete a gateway"},
	{"POST", "/1.0/gateways/{name}/move", trusted, (*Server).postGatewayMove, GatewayMove{}, GatewayMoved{}, "Move a gateway to another member without loss"},
	{"POST", "/1.0/gateways/{name}/handover", trusted, (*Server).postGatewayHandover, GatewayMove{}, nil, "Have this member hand over a gateway without loss"},

	{"GET", "/1.0/routes/explain", trusted, (*Server).explainRoute, nil, explain.Answer{}, "Explain what is announced for an address or prefix (prefix), and what is in the way"},
	{"GET", "/1.0/routes/reasons", trusted, (*Server).getReasons, nil, []fabric.ReasonText{}, "List the reasons why a prefix may not be announced: cause and what to do"},
	{"GET", "/1.0/routes", trusted, (*Server).getRoutes, nil, []Route{}, "List the prefixes of all members: what is announced, to whom, and why not"},
}

func (s *Server) getRoot(*request) (reply, error) { return reply{metadata: []string{"/1.0"}}, nil }

func (s *Server) getOpenAPI(r *request) (reply, error) {
	return reply{stream: func(w http.ResponseWriter) {
		startJSON(w, http.StatusOK, len(s.spec))
		w.Write(s.spec)
	}}, nil
}
