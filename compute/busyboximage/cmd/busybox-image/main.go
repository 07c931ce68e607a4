// Command busybox-image writes a tiny container image made of the host's static busybox.
package main

import (
	"flag"
	"fmt"
	"os"

	"netfabric/compute/busyboximage"
)

func main() {
	o := busyboximage.Options{}
	flag.StringVar(&o.Busybox, "busybox", "/bin/busybox", "statically linked busybox")
	flag.BoolVar(&o.HTTP, "http", true, "serve the instance's host name on port 80")
	flag.StringVar(&o.Program, "program", "", "`FILE` of a statically linked program that runs from the start")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: busybox-image [flags] FILE.tar.gz")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(flag.Arg(0), o); err != nil {
		fmt.Fprintln(os.Stderr, "busybox-image:", err)
		os.Exit(1)
	}
}

func write(file string, o busyboximage.Options) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := busyboximage.Build(f, o); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
