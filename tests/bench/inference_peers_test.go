package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"cocoon/tests/ports"
)

// Environment of the test binary when it plays one of the Go proxies.
const (
	peerKind   = "COCOON_BENCH_PEER"
	peerListen = "COCOON_BENCH_PEER_LISTEN"
	peerTarget = "COCOON_BENCH_PEER_TARGET"

	reverseKind, bufferedKind = "reverse", "buffered"

	// peerIdle is how many idle connections to the engine a Go proxy keeps.
	peerIdle = 512
)

// path is a way from an app to the engine: its processes, and where it takes requests.
type path struct {
	name, addr string
	roles      []role
	idle       []memory // of each role before any load
	best       figures
	there      there
}

// role is one process of a path.
type role struct {
	name string
	pid  int
}

// engineAt is where the engine listens.
type engineAt struct{ address, socket string }

// peer is a path by its name. One that is not installed says why it does not start.
type peer struct {
	name  string
	start func(t *testing.T, engine engineAt) (p *path, why string)
	there there
}

// peers are the proxies that ours is compared with.
func peers() []peer {
	return []peer{
		{"nginx, 1 worker", startNginx, there{11.3, 5.1}},
		{"HAProxy, 1 thread", startHTTPHAProxy, there{12.9, 5.4}},
		{"Caddy", startCaddy, there{request: 70.2}},
		{"Go httputil.ReverseProxy", goPeer(reverseKind), there{request: 42.9}},
		{"Go net/http, body buffered", goPeer(bufferedKind), there{42.1, 9.8}},
	}
}

// alone is a path of one process.
func alone(t *testing.T, name string, port int, cmd *exec.Cmd) *path {
	t.Helper()
	p := startProxy(t, name, port, cmd)
	return &path{addr: p.addr, roles: []role{{name, p.pid}}}
}

func startNginx(t *testing.T, engine engineAt) (*path, string) {
	t.Helper()
	binary := findProxy("nginx")
	if binary == "" {
		return nil, "nginx is not installed (package nginx-light)"
	}
	dir, port := t.TempDir(), ports.Free(t, 1)[0]
	file := filepath.Join(dir, "nginx.conf")
	put(t, file, fmt.Appendf(nil, `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_buffer_size 256k;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    upstream engine { server %[2]s; keepalive 512; }
    server {
        listen 127.0.0.1:%[3]d;
        keepalive_requests 100000000;
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
`, dir, engine.address, port))
	return alone(t, "nginx", port, exec.Command(binary, "-p", dir, "-e", "stderr", "-c", file)), ""
}

func startHTTPHAProxy(t *testing.T, engine engineAt) (*path, string) {
	t.Helper()
	binary := findProxy(haproxyName)
	if binary == "" {
		return nil, "HAProxy is not installed (package haproxy)"
	}
	dir, port := t.TempDir(), ports.Free(t, 1)[0]
	file := filepath.Join(dir, "haproxy.cfg")
	put(t, file, fmt.Appendf(nil, `global
    nbthread 1
    maxconn 8192
defaults
    mode http
    option http-keep-alive
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:%d
    default_backend out
backend out
    server engine %s
`, port, engine.address))
	return alone(t, haproxyName, port, exec.Command(binary, "-db", "-f", file)), ""
}

func startCaddy(t *testing.T, engine engineAt) (*path, string) {
	t.Helper()
	binary := findProxy("caddy")
	if binary == "" {
		return nil, "Caddy is not installed (package caddy)"
	}
	dir, port := t.TempDir(), ports.Free(t, 1)[0]
	file := filepath.Join(dir, "Caddyfile")
	put(t, file, fmt.Appendf(nil, `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://127.0.0.1:%d {
	reverse_proxy %s {
		flush_interval -1
	}
}
`, port, engine.address))
	cmd := exec.Command(binary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = []string{oneCore, "HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
	return alone(t, "Caddy", port, cmd), ""
}

func goPeer(kind string) func(t *testing.T, engine engineAt) (*path, string) {
	return func(t *testing.T, engine engineAt) (*path, string) {
		t.Helper()
		port := ports.Free(t, 1)[0]
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{oneCore, peerKind + "=" + kind, fmt.Sprintf("%s=127.0.0.1:%d", peerListen, port), peerTarget + "=" + engine.address}
		return alone(t, kind+" proxy in Go", port, cmd), ""
	}
}

// playPeer is one of the Go proxies.
func playPeer(kind, listen, target string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", listen)
	if err != nil {
		return err
	}
	engine := &url.URL{Scheme: "http", Host: target}
	transport := &http.Transport{MaxIdleConnsPerHost: peerIdle, DisableCompression: true}
	var h http.Handler
	switch kind {
	case reverseKind:
		h = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(engine) }, Transport: transport, FlushInterval: -1,
		}
	case bufferedKind:
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { relayBuffered(w, r, engine, transport) })
	default:
		return fmt.Errorf("there is no proxy of the kind %q", kind)
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(l)
}

// relayBuffered is the least that a correct relay in Go does: the request's body is read whole before anything is sent on
// (inference.md section 17, pitfall 1), and each piece of the answer goes out as it comes.
func relayBuffered(w http.ResponseWriter, r *http.Request, engine *url.URL, transport http.RoundTripper) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, engine.JoinPath(r.URL.Path).String(), bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	res, err := transport.RoundTrip(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = res.Body.Close() }()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	if res.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	w.WriteHeader(res.StatusCode)
	out, buf := http.NewResponseController(w), make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = out.Flush() // the next write says what is wrong
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) //nolint:forbidigo // the way to end an answer as broken
		}
	}
}
