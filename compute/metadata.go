package compute

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"netfabric/fabric"
)

// metadata is what an image says of itself.
type metadata struct {
	Architecture string
	Properties   map[string]string
	MadeAt       time.Time
	ExpiresAt    time.Time
}

// parseMetadata reads a metadata.yaml.
func parseMetadata(raw []byte) (metadata, error) {
	var y struct {
		Architecture string         `yaml:"architecture"`
		CreationDate int64          `yaml:"creation_date"`
		ExpiryDate   int64          `yaml:"expiry_date"`
		Properties   map[string]any `yaml:"properties"`
	}
	if err := yaml.Unmarshal(raw, &y); err != nil {
		return metadata{}, fabric.Invalidf("image-broken", "its metadata.yaml can't be read: %w", err)
	}
	if y.Architecture == "" {
		return metadata{}, fabric.Invalidf("image-broken", "its metadata.yaml names no architecture")
	}
	m := metadata{Architecture: y.Architecture, Properties: map[string]string{}}
	for k, v := range y.Properties {
		m.Properties[k] = fmt.Sprint(v)
	}
	if y.CreationDate > 0 {
		m.MadeAt = time.Unix(y.CreationDate, 0).UTC()
	}
	if y.ExpiryDate > 0 {
		m.ExpiresAt = time.Unix(y.ExpiryDate, 0).UTC()
	}
	return m, nil
}
