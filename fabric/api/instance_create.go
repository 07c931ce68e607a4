package api

import (
	"cmp"
	"maps"
	"strings"

	incusapi "github.com/lxc/incus/v6/shared/api"

	"netfabric/fabric"
)

func (s *Server) postInstances(r *request) (reply, error) {
	var post InstancesPost
	if err := r.decode(&post); err != nil {
		return reply{}, err
	}
	if err := checkSource(post); err != nil {
		return reply{}, err
	}
	target, err := r.place()
	if err != nil {
		return reply{}, err
	}
	if target != "" && !strings.HasPrefix(target, "@") && offline(r.status, target) {
		return reply{}, fabric.Errorf(fabric.CodeUnavailable, "member-offline", "create instance %q: member %q is offline", post.Name, target).
			WithFix("choose another target, or none")
	}
	var made *fabric.Instance
	_, err = s.Store.Apply(r.Context(), func(tx *fabric.Tx) error {
		var err error
		if made, err = s.newInstance(tx, post, target); err != nil {
			return err
		}
		return tx.Put(made)
	})
	if err != nil {
		return reply{}, err
	}
	op, err := s.startInstanceJob(r, made, "Creating instance", "instance will be created", func(snap *fabric.Snapshot, state observed) (bool, error) {
		if !post.Start {
			return state.Root, cmp.Or(gone(snap, made), state.failure())
		}
		return state.Root && state.Status == fabric.InstanceRunning, cmp.Or(overtaken(snap, made), state.failure())
	})
	return reply{op: op}, err
}

// checkSource refuses sources that there are not.
func checkSource(post InstancesPost) error {
	what, source := "create instance "+post.Name, post.Source
	unsupported := func(reason, format string, args ...any) error {
		return fabric.Errorf(fabric.CodeNotSupported, reason, what+": "+format, args...).WithFix("name an image of this cluster by alias or fingerprint")
	}
	switch {
	case source.Type != "image" && source.Type != "":
		return unsupported("source", "source type %q is not supported", source.Type)
	case source.Server != "" || source.Mode == "pull" && source.Protocol != "":
		return unsupported("remote-image", "images of other servers are not supported")
	case source.Alias == "" && source.Fingerprint == "":
		if len(source.Properties) > 0 {
			return unsupported("source", "choosing an image by its properties is not supported")
		}
		return fabric.Invalidf("no-image", "%s: no image is named", what).WithFix("name one by alias or fingerprint")
	case post.InstanceType != "":
		return unsupported("instance-type", "instance types of clouds are not supported")
	}
	return nil
}

// newInstance makes an instance whole inside a transaction: image, profiles, root disk, member, addresses.
func (s *Server) newInstance(tx *fabric.Tx, post InstancesPost, target string) (*fabric.Instance, error) {
	snap := tx.Snapshot()
	i := &fabric.Instance{
		Header: fabric.Header{Name: post.Name}, Type: cmp.Or(string(post.Type), "container"),
		Power: fabric.PowerStopped,
	}
	if has(snap, fabric.KeyOf(i)) {
		return nil, exists(fabric.KeyOf(i))
	}
	image, err := sourceImage(snap, post.Source.InstanceSource)
	if err != nil {
		return nil, err
	}
	i.Image, i.Architecture = image.Name, image.Architecture
	if err := changeInstance(i, post.InstancePut); err != nil {
		return nil, err
	}
	if post.Profiles == nil {
		if i.Profiles = image.Profiles; len(i.Profiles) == 0 {
			i.Profiles = []string{"default"}
		}
	}
	for k, v := range image.Properties {
		if key := "image." + k; i.Config[key] == "" && v != "" {
			i.Config[key] = v
		}
	}
	if post.Start {
		i.Power, i.Boots = fabric.PowerRunning, 1
	}
	if err := i.Validate(); err != nil {
		return nil, err
	}
	if err := checkProfiles(snap, i); err != nil {
		return nil, err
	}
	if i.Pool, err = rootPool(snap, i); err != nil {
		return nil, err
	}
	if i.Member, err = s.Place(snap, i, target); err != nil {
		return nil, err
	}
	return i, tx.ResolveNICs(i)
}

// sourceImage finds the image that an instance is to be made from.
func sourceImage(snap *fabric.Snapshot, source incusapi.InstanceSource) (*fabric.Image, error) {
	if source.Fingerprint != "" {
		return byPrefix("image", snap.Images(), source.Fingerprint)
	}
	if a, ok := snap.Alias(source.Alias); ok {
		return byPrefix("image", snap.Images(), a.Target)
	}
	err := fabric.NotFoundf("image alias %q does not exist", source.Alias)
	if near := nearestAlias(snap, source.Alias); near != "" {
		return nil, err.WithFix("did you mean %q?", near)
	}
	return nil, err.WithFix("see fabricctl image list")
}

// nearestAlias is an alias that begins like the one given, or is the beginning of it.
func nearestAlias(snap *fabric.Snapshot, name string) string {
	for _, a := range snap.Aliases() {
		if name != "" && (strings.HasPrefix(a.Name, name) || strings.HasPrefix(name, a.Name)) {
			return a.Name
		}
	}
	return ""
}

// instancePut is the part of an instance that can be changed.
func instancePut(i *fabric.Instance) incusapi.InstancePut {
	config := clean(i.Config)
	maps.Copy(config, volatile(i))
	return incusapi.InstancePut{
		Architecture: i.Architecture, Config: incusapi.ConfigMap(config), Devices: showDevices(i.Devices),
		Ephemeral: i.Ephemeral, Profiles: append([]string{}, i.Profiles...), Description: i.Description,
	}
}
