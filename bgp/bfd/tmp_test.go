package bfd
import ("testing";"time";"runtime";"os";"strconv")
func TestTmpBusy(t *testing.T) {
	n,_ := strconv.Atoi(os.Getenv("PROCS"))
	if n>0 { runtime.GOMAXPROCS(n) }
	p := newPair(t)
	a := startIn(t, p.a)
	startBIRD(t, p.b, "router id 192.0.2.2;\nprotocol device {}\nprotocol bfd { interface \"bfdB\" {min rx interval 10 ms; min tx interval 10 ms; idle tx interval 1 s; multiplier 3;}; neighbor 192.0.2.1 dev \"bfdB\" local 192.0.2.2; }\n")
	c := Config{MinTx: 10 * time.Millisecond, MinRx: 10 * time.Millisecond, Multiplier: 3}
	set(t, a, Peer{Key: sorts[0].a.Key, Config: c})
	awaitState(t, a, sorts[0].a.Key, Up)
	stop := make(chan struct{})
	for range 4 {
		go func() {
			garbage := map[int][]byte{}
			for i := 0; ; i++ {
				select { case <-stop: return
				default: garbage[i%100000] = make([]byte, 4096) }
			}
		}()
	}
	out0 := stateOf(t,a,sorts[0].a.Key).Out
	late := 0
	var worst time.Duration
	for range 1 { time.Sleep(10*time.Second) }
	close(stop)
	s := stateOf(t, a, sorts[0].a.Key)
	t.Logf("procs %d flaps %d out/s %d late %d worst %s  %s", runtime.GOMAXPROCS(0), s.Flaps, (s.Out-out0)/10, late, worst, s.Failure)
}
