package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"k8s.io/streaming/pkg/httpstream"
)

const (
	// problemWait is how long the end of the data waits for the node's error message, which travels on a stream of its own.
	problemWait = 500 * time.Millisecond
	maxProblem  = 300 // bytes of the node's error message that are shown
)

// conn is one forwarded connection. A pipe stands between the caller and the data stream, because a stream knows no
// deadlines and a Read of it ends only with the stream.
type conn struct {
	net.Conn // the caller's half of the pipe
	far      net.Conn
	tunnel   *tunnel
	port     int
	data     httpstream.Stream
	problem  httpstream.Stream

	said chan string // the node's error message, "" for none
	once sync.Once

	mu  sync.Mutex
	err error // why the data ended; nil: the pod closed it
}

func newConn(t *tunnel, port int, data, problem httpstream.Stream) *conn {
	near, far := net.Pipe()
	c := &conn{Conn: near, far: far, tunnel: t, port: port, data: data, problem: problem, said: make(chan string, 1)}
	go c.listen()
	go c.fromPod()
	go c.toPod()
	return c
}

// Read returns the node's error message, where there is one, in place of the end.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = c.orSaid(err)
	}
	return n, err
}

// Write returns it in place of a broken pipe: a client may still be writing when the node says no.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = c.orSaid(err)
	}
	return n, err
}

// orSaid is why the data ended, or err where the pod closed it.
func (c *conn) orSaid(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return err
}

// Close ends the connection at once, whatever the pod does.
func (c *conn) Close() error {
	c.once.Do(func() {
		_ = c.Conn.Close()
		_ = c.far.Close()
		c.tunnel.discard(c.data, c.problem)
		c.tunnel.release()
	})
	return nil
}

// RemoteAddr names pod and port.
func (c *conn) RemoteAddr() net.Addr { return addr(fmt.Sprintf("%s:%d", c.tunnel.pod, c.port)) }

type addr string

func (addr) Network() string  { return "port-forward" }
func (a addr) String() string { return string(a) }

func (c *conn) listen() {
	message, _ := io.ReadAll(io.LimitReader(c.problem, maxProblem))
	c.said <- string(message)
}

func (c *conn) fromPod() {
	_, err := io.Copy(c.far, c.data)
	c.end(err)
	_ = c.far.Close()
}

func (c *conn) toPod() {
	if _, err := io.Copy(c.data, c.far); err != nil {
		_ = c.data.Reset() // ends fromPod, which says why
		return
	}
	_ = c.data.Close() // the caller is done writing
}

func orMessage(message string, err error) error {
	if message == "" {
		return err
	}
	return errors.New(message)
}

// end keeps why no more data comes.
func (c *conn) end(err error) {
	select {
	case message := <-c.said:
		err = orMessage(message, err)
	case <-c.tunnel.streams.CloseChan():
		err = errors.New("the stream connection broke")
		select {
		case message := <-c.said: // before it broke
			err = orMessage(message, err)
		default:
		}
	case <-time.After(problemWait):
	}
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("forward to port %d of pod %s: %w", c.port, c.tunnel.pod, err)
}
