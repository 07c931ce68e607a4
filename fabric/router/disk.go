package router

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"netfabric/fabric"
)

// disk keeps the last value and the last verdicts, for the next run.
type disk struct {
	dir  string
	host string // where the value was in force: boot and network namespace

	mu    sync.Mutex
	files map[string]*sync.Mutex // held while the file of that name is replaced; of one each, so that none waits for another's disk
}

// verdict is what was thought of a copy.
type verdict struct {
	Prefix   netip.Prefix   `json:"prefix"`
	Instance string         `json:"instance"`
	Device   string         `json:"device"`
	Process  fabric.Process `json:"process"`
	Reason   string         `json:"reason,omitempty"`
	Message  string         `json:"message,omitempty"`
	Since    time.Time      `json:"since"`
	Checked  bool           `json:"checked"` // Healthy is the verdict of the copy's checks, Last the error of the last one
	Healthy  bool           `json:"healthy"`
	Last     string         `json:"last,omitempty"`
}

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("identify this boot of the host: %w", err)
	}
	ns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("identify the network namespace: %w", err)
	}
	return &disk{dir: dir, files: map[string]*sync.Mutex{}, host: strings.TrimSpace(string(boot)) + " " + ns}, nil
}

// routing is the value of the earlier run, nil where there is none. same tells whether the kernel has been forwarding by it ever since.
func (d *disk) routing() (value *fabric.Routing, same bool, err error) {
	f, err := os.Open(d.path("routing.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	var host string
	value = new(fabric.Routing)
	if err == nil {
		defer f.Close()
		host, *value, err = readStored(f)
	}
	if err == nil {
		err = validate(*value)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", d.path("routing.json"), err)
	}
	return value, host == d.host, nil
}

func readStored(r io.Reader) (host string, value fabric.Routing, err error) {
	in := json.NewDecoder(r)
	err = members(in, func(name string) (err error) {
		switch name {
		case "host":
			return in.Decode(&host)
		case "routing":
			value, err = readRouting(in, false)
			return err
		}
		return fmt.Errorf("unknown member %q", name)
	})
	return host, value, err
}

// keep stores a value. It may hold passwords: only root may read it.
func (d *disk) keep(r fabric.Routing) error {
	return d.replace("routing.json", true, func(w *bufio.Writer) error {
		fmt.Fprintf(w, `{"host":%q,"routing":`, d.host)
		if err := writeRouting(w, r); err != nil {
			return err
		}
		return w.WriteByte('}')
	})
}

// verdictKeeper stores verdicts behind the loop: a disk that is busy must not hold up what has to be done about the next failure.
type verdictKeeper struct {
	newest chan []verdict // one slot
	over   chan struct{}
	none   bool // nothing was thought of anything the last time
}

func newVerdictKeeper() *verdictKeeper {
	return &verdictKeeper{newest: make(chan []verdict, 1), over: make(chan struct{})}
}

// put has what is thought of copies stored, in place of what was to be and is not yet. It does not wait. Only one goroutine may put.
func (k *verdictKeeper) put(trackers map[copyKey]*tracker) {
	if k.none && len(trackers) == 0 {
		return
	}
	k.none = len(trackers) == 0
	select {
	case <-k.newest:
	default:
	}
	k.newest <- verdictsOf(trackers)
}

// run stores until stop is called. Verdicts are worth something only as long as the processes live: they need not survive the host.
func (k *verdictKeeper) run(d *disk, log *slog.Logger) {
	defer close(k.over)
	for list := range k.newest {
		if err := d.write("health.json", list, false); err != nil {
			log.Warn("verdicts are not kept for the next run", "error", err)
		}
	}
}

// stop waits until what was put last is stored.
func (k *verdictKeeper) stop() {
	close(k.newest)
	<-k.over
}

func verdictsOf(trackers map[copyKey]*tracker) []verdict {
	list := make([]verdict, 0, len(trackers))
	for key, t := range trackers {
		v := verdict{
			Prefix: key.prefix, Instance: key.instance, Device: key.device, Process: key.process,
			Reason: t.reason, Message: t.message, Since: t.since,
		}
		if t.health != nil && t.health.known {
			v.Checked, v.Healthy, v.Last = true, t.health.healthy, t.health.last
		}
		list = append(list, v)
	}
	return list
}

// verdicts are those of the earlier run.
func (d *disk) verdicts(log *slog.Logger) map[copyKey]verdict {
	all := map[copyKey]verdict{}
	data, err := os.ReadFile(d.path("health.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return all
	}
	var list []verdict
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		log.Warn("verdicts of the earlier run are lost", "error", err)
		return all
	}
	for _, v := range list {
		all[copyKey{v.Prefix, v.Instance, v.Device, v.Process}] = v
	}
	return all
}

// keepStandings stores which subnets behind gateways are announced: the next run announces them until it has heard of the gateways.
func (d *disk) keepStandings(log *slog.Logger, standings map[standKey]*standing) {
	list := []standKey{}
	for key, s := range standings {
		if s.up {
			list = append(list, key)
		}
	}
	if err := d.write("gateways.json", list, false); err != nil {
		log.Warn("what is announced for gateways is not kept for the next run", "error", err)
	}
}

// standings are the subnets that the earlier run announced.
func (d *disk) standings(log *slog.Logger) map[standKey]bool {
	var list []standKey
	if err := d.read("gateways.json", &list); err != nil {
		log.Warn("what was announced for gateways is lost", "error", err)
	}
	all := map[standKey]bool{}
	for _, key := range list {
		all[key] = true
	}
	return all
}

// read reads a file that write wrote; v stays as it is where there is none.
func (d *disk) read(name string, v any) error {
	data, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", d.path(name), err)
	}
	return nil
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// write replaces a file as a whole by the JSON of a value.
func (d *disk) write(name string, v any, sync bool) error {
	return d.replace(name, sync, func(w *bufio.Writer) error { return json.NewEncoder(w).Encode(v) })
}

// replace replaces a file as a whole by what is written.
func (d *disk) replace(name string, sync bool, write func(*bufio.Writer) error) error {
	file := d.file(name)
	file.Lock()
	defer file.Unlock()
	f, err := os.CreateTemp(d.dir, "."+name+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), d.path(name))
	}
	return err
}

// vrpFiles keeps what RPKI caches say. It may be tens of megabytes, and can be had again: it need not survive the host.
type vrpFiles struct{ *disk }

func vrpFile(cache string) string { return "vrps-" + cache }

// Keep implements gobgp.VRPKeeper.
func (d vrpFiles) Keep(cache string, data []byte) error {
	return d.replace(vrpFile(cache), false, func(w *bufio.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Kept implements gobgp.VRPKeeper.
func (d vrpFiles) Kept(cache string) ([]byte, error) {
	data, err := os.ReadFile(d.path(vrpFile(cache)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Forget implements gobgp.VRPKeeper.
func (d vrpFiles) Forget(cache string) error {
	if err := os.Remove(d.path(vrpFile(cache))); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *disk) file(name string) *sync.Mutex {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		d.files[name] = new(sync.Mutex)
	}
	return d.files[name]
}
