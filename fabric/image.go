package fabric

import (
	"regexp"
	"time"
)

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Image is a root file system from which instances are made. Its name is its fingerprint: the SHA-256, in hex, of its file, or of metadata
// followed by root file system where it came as two files.
type Image struct {
	Header
	Size         int64             `json:"size"` // bytes of its files
	Type         string            `json:"type"` // "container"
	Architecture string            `json:"architecture"`
	Filename     string            `json:"filename,omitempty"`
	Split        bool              `json:"split,omitempty"` // two files: metadata, and root file system
	Public       bool              `json:"public,omitempty"`
	AutoUpdate   bool              `json:"auto_update,omitempty"`
	Properties   map[string]string `json:"properties,omitempty"`
	Profiles     []string          `json:"profiles,omitempty"`
	MadeAt       time.Time         `json:"made_at"`
	ExpiresAt    time.Time         `json:"expires_at,omitzero"`
	Origin       string            `json:"origin"` // member that has had the files since the beginning
}

// Kind is KindImage.
func (*Image) Kind() Kind { return KindImage }

// Validate checks the fingerprint and the type.
func (i *Image) Validate() error {
	if !fingerprintPattern.MatchString(i.Name) {
		return Invalidf("bad-fingerprint", "image %q: the fingerprint is not a SHA-256 in hex", i.Name)
	}
	if i.Type != "container" {
		return Errorf(CodeNotSupported, "image-type", "image %.12s: type %q is not supported", i.Name, i.Type)
	}
	return nil
}

// Refs is empty.
func (i *Image) Refs() []Key { return nil }

// Claims is empty.
func (*Image) Claims() []Claim { return nil }

// Alias is a name for an image.
type Alias struct {
	Header
	Description string `json:"description,omitempty"`
	Target      string `json:"target"` // fingerprint
}

// Kind is KindAlias.
func (*Alias) Kind() Kind { return KindAlias }

var aliasPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/+-]{0,127}$`)

// Validate checks the name, which may have slashes.
func (a *Alias) Validate() error {
	if !aliasPattern.MatchString(a.Name) {
		return Invalidf("bad-name", "image alias %q: want 1 to 128 letters, digits, dots, slashes, dashes, plus signs or underscores", a.Name)
	}
	return nil
}

// Refs names the image.
func (a *Alias) Refs() []Key { return []Key{{KindImage, a.Target}} }

// Claims is empty.
func (*Alias) Claims() []Claim { return nil }
