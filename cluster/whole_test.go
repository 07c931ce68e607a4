package cluster

import (
	"net"
	"testing"
)

func TestRequestsAreSentInOnePiece(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	pieces := make(chan string, 10)
	go func() {
		defer close(pieces)
		for buffer := make([]byte, 100); ; {
			n, err := far.Read(buffer)
			if err != nil {
				return
			}
			pieces <- string(buffer[:n])
			if _, err := far.Write([]byte("answer")); err != nil {
				return
			}
		}
	}()
	c := &wholeRequests{Conn: near}
	for range 2 {
		for _, piece := range []string{"head", "body"} {
			if n, err := c.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		for _, want := range []string{"ans", "wer"} { // the second read has nothing to send
			answer := make([]byte, 3)
			if n, err := c.Read(answer); string(answer[:n]) != want || err != nil {
				t.Fatalf("read %q, %v, want %q", answer[:n], err, want)
			}
		}
		if got := <-pieces; got != "headbody" {
			t.Errorf("sent %q first", got)
		}
	}
	near.Close()
	for rest := range pieces {
		t.Errorf("sent %q as well", rest)
	}
	c.Write([]byte("late"))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("nothing is said of a request that could not be sent")
	}
}
