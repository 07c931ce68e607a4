package fabrictest

import (
	"testing"

	"netfabric/fabric"
)

func TestMemory(t *testing.T) {
	Suite(t, func(*testing.T) fabric.Store { return NewMemory() })
}
