package lab

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden drawings anew")

func TestGraphGolden(t *testing.T) {
	for _, source := range []string{"topologies/anycast.clab.yml", "testdata/ring.clab.yml"} {
		topology, err := Load(source)
		if err != nil {
			t.Fatal(err)
		}
		for ending, draw := range map[string]func(*Topology) string{".svg": SVG, ".mmd": Mermaid} {
			golden := filepath.Join("testdata", topology.Name+ending)
			got := draw(topology)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is drawn otherwise than %s; look at it, then go test ./lab -run Golden -update", source, golden)
			}
		}
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	topology, err := Parse([]byte(inheritance), "/")
	if err != nil {
		t.Fatal(err)
	}
	topology.Name = `<&"name`
	for decoder := xml.NewDecoder(strings.NewReader(SVG(topology))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Boxes must not touch each other, whatever the shape of the topology.
func TestBoxesDoNotOverlap(t *testing.T) {
	files, _ := filepath.Glob("t*/*.clab.yml")
	for _, file := range files {
		topology, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		boxes, width, height := place(topology)
		for a, one := range boxes {
			if one.x-one.w/2 < 0 || one.x+one.w/2 > width || one.y+one.h/2 > height {
				t.Errorf("%s: %s is outside the picture", file, a)
			}
			for b, other := range boxes {
				if a != b && abs(one.x-other.x) < (one.w+other.w)/2+8 && abs(one.y-other.y) < (one.h+other.h)/2+8 {
					t.Errorf("%s: %s and %s overlap", file, a, b)
				}
			}
		}
	}
}

func abs(f float64) float64 { return max(f, -f) }
