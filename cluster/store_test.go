package cluster

import (
	"fmt"
	"testing"

	"netfabric/fabric"
	"netfabric/fabric/fabrictest"
)

func TestStore(t *testing.T) {
	members := startCluster(t, 3)
	for _, m := range members {
		t.Run(m.Name(), func(t *testing.T) {
			fabrictest.Suite(t, func(*testing.T) fabric.Store { return m.Store() })
		})
	}
	t.Run("AllSeeTheSame", func(t *testing.T) {
		eventually(t, "all members have the same", func() bool {
			want := fmt.Sprint(members[0].Snapshot().Rows())
			for _, m := range members {
				if fmt.Sprint(m.Snapshot().Rows()) != want {
					return false
				}
			}
			return true
		})
	})
}
