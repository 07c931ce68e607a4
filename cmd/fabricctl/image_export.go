package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"netfabric/fabric"

	incusapi "github.com/lxc/incus/v6/shared/api"
	"github.com/spf13/cobra"
)

func (a *app) imageExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export IMAGE [TARGET]",
		Short: "Write the files of an image",
		Long: `Write the files of an image into a directory, or to a file name. An image of two files has the root file system in one whose name ends
in ".root". Files that exist are not replaced.`,
		Example: `  fabricctl image export alpine
  fabricctl image export alpine /tmp/alpine.tar.xz`,
		ValidArgsFunction: a.complete(images),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, _, err := a.findImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			target := "."
			if len(args) == 2 {
				target = args[1]
			}
			if info, err := os.Stat(target); err == nil && info.IsDir() {
				target = filepath.Join(target, exportName(*i))
			}
			next, end, err := a.client().ExportImage(cmd.Context(), i.Fingerprint)
			if err != nil {
				return err
			}
			defer end()
			for {
				file, err := next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return fmt.Errorf("read image %s: %w", short(i.Fingerprint), err)
				}
				path := target
				if file.Name == "rootfs" {
					path += ".root"
				}
				if err := writeNew(path, file.Body); err != nil {
					return err
				}
				a.say("Image written to %s", path)
			}
		},
	}
}

// exportName is the file name of an image: its own, of which only the last part counts, because it comes from whoever made the image.
func exportName(i incusapi.Image) string {
	name := filepath.Base(i.Filename)
	if name == "." || name == ".." || name == "/" {
		return i.Fingerprint
	}
	return name
}

// writeNew writes a file that does not exist yet, and leaves none behind when it fails.
func writeNew(path string, body io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fabric.Conflictf("exists", "%s exists already", path).WithFix("remove it, or name another TARGET")
	}
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	_, err = io.Copy(f, body)
	if err = cmp.Or(err, f.Close()); err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
