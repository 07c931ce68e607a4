package lab

import (
	"fmt"
	"slices"
	"strings"
)

// Role selects what a node runs and how its namespace is set up.
type Role string

// The roles an image name or the label lab.role can select.
const (
	RoleFRR        Role = "frr"        // zebra, bgpd, staticd, or what /etc/frr/daemons enables; forwards
	RoleFabric     Role = "fabric"     // fabric-node; forwards
	RoleBIRD       Role = "bird"       // bird with /etc/bird/bird.conf; forwards
	RoleExaBGP     Role = "exabgp"     // exabgp with /etc/exabgp/exabgp.conf; forwards nothing
	RoleKeepalived Role = "keepalived" // keepalived with /etc/keepalived/keepalived.conf; forwards
	RoleClient     Role = "client"     // no daemon; transmit checksum offload off
	RoleSwitch     Role = "switch"     // a Linux bridge over all its interfaces
	RoleLinux      Role = "linux"      // no daemon; what every other image is
)

const roleLabel = "lab.role"

var roles = []Role{RoleFRR, RoleFabric, RoleBIRD, RoleExaBGP, RoleKeepalived, RoleClient, RoleSwitch, RoleLinux}

// forwards reports whether nodes of this role route packets.
func (r Role) forwards() bool {
	return r == RoleFRR || r == RoleFabric || r == RoleBIRD || r == RoleKeepalived
}

// roleOf takes the label lab.role, else the last path element of the image without tag and digest.
func roleOf(node NodeSpec) (Role, error) {
	switch node.Kind {
	case "bridge":
		return RoleSwitch, nil
	case "linux":
	case "":
		return "", fmt.Errorf("kind is missing; say linux or bridge here, in its group or in defaults")
	default:
		return "", fmt.Errorf("kind %q is not supported; the lab runs linux and bridge", node.Kind)
	}
	if text, ok := node.Labels[roleLabel]; ok {
		if !slices.Contains(roles, Role(text)) {
			return "", fmt.Errorf("label %s: %q is not a role; roles are %s", roleLabel, text, joinRoles())
		}
		return Role(text), nil
	}
	if node.Image == "" {
		return "", fmt.Errorf("image is missing; a node of kind linux needs one")
	}
	if role := Role(imageBase(node.Image)); slices.Contains(roles, role) {
		return role, nil
	}
	return RoleLinux, nil
}

func imageBase(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	base, _, _ := strings.Cut(image, ":")
	return base
}

func joinRoles() string {
	texts := make([]string, len(roles))
	for i, role := range roles {
		texts[i] = string(role)
	}
	return strings.Join(texts, ", ")
}
