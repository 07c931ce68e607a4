package api

import incusapi "github.com/lxc/incus/v6/shared/api"

// InstancesPost makes an instance.
type InstancesPost struct {
	incusapi.InstancesPost
	Source InstanceSource `json:"source"`
}

// InstanceSource is what an instance is made from.
type InstanceSource struct {
	incusapi.InstanceSource
	ContainerOnly bool `json:"container_only,omitempty"` // an older name of instance_only in LXD
}
