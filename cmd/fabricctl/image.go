package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"netfabric/fabric"
	"netfabric/fabric/api"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) imageCommand() *cobra.Command {
	return group("image", "Manage images",
		a.imageImport(), a.imageExport(), a.imageList(), a.imageShow(), a.imageEdit(), a.imageDelete(), a.aliasCommand())
}

func (a *app) imageImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE [ROOTFS] [PROPERTY=VALUE...]",
		Short: "Import an image from files",
		Long:  "Import an image: one tarball with metadata and root file system, or FILE with the metadata and ROOTFS with the root file system.",
		Example: `  fabricctl image import alpine.tar.xz --alias alpine
  fabricctl image import metadata.tar.xz rootfs.squashfs --alias debian/12 description="Debian 12"`,
	}
	flags := cmd.Flags()
	aliases := flags.StringArray("alias", nil, "`NAME` for the image; may be given more than once")
	public := flags.Bool("public", false, "let clients read it that are not trusted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, properties := splitImageArgs(args)
		if len(files) > 2 {
			return usagef(cmd, "%q is neither PROPERTY=VALUE nor one of two files", files[2])
		}
		set, err := a.config(cmd, properties)
		if err != nil {
			return err
		}
		up := api.ImageUpload{Filename: filepath.Base(files[0]), Public: *public, Properties: set, Aliases: *aliases}
		names := []string{filepath.Base(files[0])}
		if len(files) == 2 {
			names = []string{"metadata", "rootfs"}
		}
		for i, path := range files {
			f, err := openImage(path)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			up.Files = append(up.Files, fabric.ImageFile{Name: names[i], Size: info.Size(), Body: f})
		}
		op, err := a.client().UploadImage(cmd.Context(), up)
		done, err := a.settle(cmd.Context(), op, err)
		if err != nil || !done {
			return err
		}
		a.say("Image imported with fingerprint: %v", op.Metadata["fingerprint"])
		return nil
	}
	return cmd
}

// splitImageArgs tells files from properties. A file whose name has a "=" is a file when it exists.
func splitImageArgs(args []string) (files, properties []string) {
	for i, arg := range args {
		if strings.Contains(arg, "=") && i > 0 {
			if _, err := os.Stat(arg); i > 1 || err != nil {
				properties = append(properties, arg)
				continue
			}
		}
		files = append(files, arg)
	}
	return files, properties
}

// openImage opens a file, and refuses a directory before half of the upload is done.
func openImage(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fabric.Invalidf("is-directory", "read the image: %s is a directory", path).WithFix("give a tarball")
	}
	return f, nil
}

func (a *app) imageList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER...]", Aliases: []string{"ls"}, Short: "List images",
		Long: "List images. A FILTER is part of an alias or description, the beginning of a fingerprint, or PROPERTY=VALUE. All filters must match.",
		Example: `  fabricctl image list
  fabricctl image list alpine -f json`,
	}
	f := formatFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := a.client().GetImages(cmd.Context())
		if err != nil {
			return err
		}
		var found []incusapi.Image
		for _, i := range all {
			if imageMatches(i, args) {
				found = append(found, i)
			}
		}
		return list(a.out, *f, found, []column[incusapi.Image]{
			{"ALIAS", func(i incusapi.Image) string { return strings.Join(imageAliases(i), "\n") }},
			{"FINGERPRINT", func(i incusapi.Image) string { return short(i.Fingerprint) }},
			{"PUBLIC", func(i incusapi.Image) string { return strings.ToLower(yesNo(i.Public)) }},
			{"DESCRIPTION", func(i incusapi.Image) string { return i.Properties["description"] }},
			{"ARCHITECTURE", func(i incusapi.Image) string { return i.Architecture }},
			{"TYPE", func(i incusapi.Image) string { return strings.ToUpper(i.Type) }},
			{"SIZE", func(i incusapi.Image) string { return size(i.Size) }},
			{"UPLOAD DATE", func(i incusapi.Image) string { return date(i.UploadedAt) }},
		})
	}
	return cmd
}

func imageAliases(i incusapi.Image) []string {
	var names []string
	for _, alias := range i.Aliases {
		names = append(names, alias.Name)
	}
	return names
}

func imageMatches(i incusapi.Image, filters []string) bool {
	for _, filter := range filters {
		if key, value, ok := strings.Cut(filter, "="); ok {
			if i.Properties[key] != value {
				return false
			}
			continue
		}
		texts := append(imageAliases(i), i.Properties["description"])
		if !strings.Contains(strings.Join(texts, "\n"), filter) && !strings.HasPrefix(i.Fingerprint, filter) {
			return false
		}
	}
	return true
}

func (a *app) imageShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show IMAGE", Aliases: []string{"info"}, Short: "Show an image",
		Example: "  fabricctl image show alpine", ValidArgsFunction: a.complete(images),
	}
	f := formatFlag(cmd, "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, _, err := a.findImage(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(a.out, *f, i)
	}
	return cmd
}

func (a *app) findImage(ctx context.Context, name string) (*incusapi.Image, string, error) {
	fingerprint, err := resolveImage(ctx, a.client(), name)
	if err != nil {
		return nil, "", err
	}
	return a.client().GetImage(ctx, fingerprint)
}

func (a *app) imageEdit() *cobra.Command {
	return &cobra.Command{
		Use: "edit IMAGE", Short: "Edit the properties of an image as YAML",
		Example: "  fabricctl image edit alpine", ValidArgsFunction: a.complete(images),
		RunE: func(cmd *cobra.Command, args []string) error {
			fingerprint := ""
			return edit(cmd.Context(), a, "image "+args[0], args[0], incusapi.Image{}, func(ctx context.Context) (incusapi.ImagePut, string, error) {
				i, etag, err := a.findImage(ctx, args[0])
				if err != nil {
					return incusapi.ImagePut{}, "", err
				}
				fingerprint = i.Fingerprint
				return i.Writable(), etag, nil
			}, func(ctx context.Context, put incusapi.ImagePut, etag string) error {
				return a.client().UpdateImage(ctx, fingerprint, put, etag)
			})
		},
	}
}

func (a *app) imageDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete IMAGE...", Aliases: []string{"rm"}, Short: "Delete images",
		Long:    "Delete images and their aliases. Instances made from them are not affected.",
		Example: "  fabricctl image delete alpine", ValidArgsFunction: a.completeAll(images),
		RunE: func(cmd *cobra.Command, args []string) error {
			return forEach(args, func(name string) error {
				fingerprint, err := resolveImage(cmd.Context(), a.client(), name)
				if err != nil {
					return err
				}
				op, err := a.client().DeleteImage(cmd.Context(), fingerprint)
				return a.finished(cmd.Context(), op, err)
			})
		},
	}
}

func (a *app) aliasCommand() *cobra.Command {
	create := &cobra.Command{
		Use: "create ALIAS IMAGE", Short: "Give an image a name",
		Example:           "  fabricctl image alias create stable 5c4a6ce0c9a1",
		ValidArgsFunction: a.complete(nil, images),
		RunE: func(cmd *cobra.Command, args []string) error {
			fingerprint, err := resolveImage(cmd.Context(), a.client(), args[1])
			if err != nil {
				return err
			}
			post := incusapi.ImageAliasesPost{}
			post.Name, post.Target = args[0], fingerprint
			return a.client().CreateImageAlias(cmd.Context(), post)
		},
	}
	remove := &cobra.Command{
		Use: "delete ALIAS", Aliases: []string{"rm"}, Short: "Take a name from its image",
		Example: "  fabricctl image alias delete stable", ValidArgsFunction: a.complete(aliases),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().DeleteImageAlias(cmd.Context(), args[0])
		},
	}
	listAll := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the names of images", Example: "  fabricctl image alias list"}
	f := formatFlag(listAll, "table")
	listAll.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.client().GetImageAliases(cmd.Context())
		if err != nil {
			return err
		}
		return list(a.out, *f, all, []column[incusapi.ImageAliasesEntry]{
			{"ALIAS", func(e incusapi.ImageAliasesEntry) string { return e.Name }},
			{"FINGERPRINT", func(e incusapi.ImageAliasesEntry) string { return short(e.Target) }},
			{"TYPE", func(e incusapi.ImageAliasesEntry) string { return strings.ToUpper(e.Type) }},
			{"DESCRIPTION", func(e incusapi.ImageAliasesEntry) string { return e.Description }},
		})
	}
	return group("alias", "Manage the names of images", create, listAll, remove)
}
