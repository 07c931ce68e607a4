// Package storage keeps the storage pools of this member as desired and hands out the volumes in them.
package storage

import (
	"context"
)

// Pool is a pool as a driver sees it on this member.
type Pool struct {
	Name   string
	Source string // where it is, in the driver's terms
}

// Fill writes the first contents of a volume into the directory root. Owners and modes are the filler's, that of root included.
type Fill func(ctx context.Context, root string) error

// Driver knows one way to keep pools and volumes. Its methods may be called at the same time for different volumes. Errors that an operator can
// act on are *fabric.Error with the reasons named below.
type Driver interface {
	// DefaultSource is where a pool lives for which no source was given; dir is the directory that the daemon has for its pools.
	DefaultSource(dir, pool string) string
	// CreatePool makes the pool and marks it as ours. A pool that is there already is left as it is. What is not ours is refused with the
	// reason "source-foreign".
	CreatePool(ctx context.Context, p Pool) error
	// CheckPool tells whether a pool that was made earlier is still there and ours; if not, the reason is "pool-missing".
	CheckPool(ctx context.Context, p Pool) error
	// DeletePool removes a pool that carries our mark and has no volumes; with volumes the reason is "pool-in-use". Deleting what is not
	// there is no error.
	DeletePool(ctx context.Context, p Pool) error
	// CreateVolume makes a volume and has it filled. It is there completely or not at all, also after a crash. A volume that is there
	// already is a conflict.
	CreateVolume(ctx context.Context, p Pool, name string, fill Fill) error
	// DeleteVolume removes a volume with everything in it. Deleting what is not there is no error.
	DeleteVolume(ctx context.Context, p Pool, name string) error
	// Mount makes the files of a volume reachable and tells where. Only root and the owner of the volume's root directory can reach them.
	// A repeat is free. A volume that is not there is not found.
	Mount(ctx context.Context, p Pool, name string) (root string, err error)
	// Volumes lists the volumes of a pool by name.
	Volumes(ctx context.Context, p Pool) ([]string, error)
}
