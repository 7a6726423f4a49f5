package simtdx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sync/errgroup"

	"cocoon/measure/measuretest"
	"cocoon/measure/simtd"
)

const (
	// portPause is how long a serial port whose session ended is left alone.
	portPause = 500 * time.Millisecond
	// Deadlines of the provisioning service; an answer may take long when a fault makes it slow.
	headerDeadline = 10 * time.Second
	answerDeadline = 60 * time.Second
	stopDeadline   = 5 * time.Second
)

// Service is software TDX whose listeners are open.
type Service struct {
	config   Config
	platform *measuretest.Platform
	handler  *measuretest.Service
	about    Description
	// listeners are the guests' sockets, ports the paths of serial ports, pcs the provisioning service's socket.
	listeners []net.Listener
	ports     []string
	pcs       net.Listener
}

// Describe says what New would run, without listening.
func Describe(c Config) (Description, error) {
	s, err := prepare(c)
	if err != nil {
		return Description{}, fmt.Errorf("preparing software TDX: %w", err)
	}
	for _, a := range c.Guests {
		s.about.Guests = append(s.about.Guests, a.String())
	}
	if c.PCS != "" {
		s.about.PCS = "http://" + c.PCS
	}
	return s.about, nil
}

// New makes the platform and opens its listeners. Either Run or Close must follow.
func New(ctx context.Context, c Config) (*Service, error) {
	s, err := prepare(c)
	if err == nil {
		err = s.listen(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("starting software TDX: %w", err)
	}
	return s, nil
}

func prepare(c Config) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: c}
	var err error
	if s.platform, s.handler, err = c.platform(); err != nil {
		return nil, err
	}
	s.about, err = c.describe(s.platform)
	s.about.Guests = []string{}
	return s, err
}

// Description says what the service is and where it listens.
func (s *Service) Description() Description { return s.about }

func (s *Service) listen(ctx context.Context) error {
	for _, a := range s.config.Guests {
		if err := s.listenAt(ctx, a); err != nil {
			return errors.Join(fmt.Errorf("listening at %s: %w", a, err), s.Close())
		}
	}
	if s.config.PCS == "" {
		return nil
	}
	var err error
	if s.pcs, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.PCS); err != nil {
		return errors.Join(fmt.Errorf("listening for the provisioning service: %w", err), s.Close())
	}
	s.about.PCS = "http://" + s.pcs.Addr().String()
	return nil
}

// listenAt opens one way in. The port that the system chose for a TCP address is what the description says.
func (s *Service) listenAt(ctx context.Context, a simtd.Address) error {
	var l net.Listener
	var err error
	switch a.Network {
	case simtd.Unix:
		l, err = new(net.ListenConfig).Listen(ctx, "unix", a.Path)
	case simtd.TCP:
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", a.Host); err == nil {
			a.Host = l.Addr().String()
		}
	case simtd.VSock:
		l, err = vsock.Listen(a.Number, nil)
	case simtd.Port:
		s.ports = append(s.ports, a.Path)
	default:
		err = fmt.Errorf("network %q is unknown", a.Network)
	}
	if err != nil {
		return err
	}
	if l != nil {
		s.listeners = append(s.listeners, l)
	}
	s.about.Guests = append(s.about.Guests, a.String())
	return nil
}

// Close closes the listeners of a service that is not going to run.
func (s *Service) Close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	if s.pcs != nil {
		errs = append(errs, s.pcs.Close())
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range s.listeners {
		group.Go(func() error { return s.platform.Serve(ctx, l, s.config.Log) })
	}
	for _, path := range s.ports {
		group.Go(func() error { s.servePort(ctx, path); return nil })
	}
	if s.pcs != nil {
		group.Go(func() error { return s.serveHTTP(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("running software TDX: %w", err)
	}
	return nil
}

// servePort serves one session after another: a serial port has no connections, and QEMU may come later or start again.
func (s *Service) servePort(ctx context.Context, path string) {
	for ctx.Err() == nil {
		channel, err := openPort(ctx, path)
		if err == nil {
			err = s.platform.ServeConn(ctx, channel)
		}
		if err != nil && ctx.Err() == nil {
			s.config.Log.Debug("Serial port's session ended", slog.String("port", path), slog.Any("err", err))
		}
		timer := time.NewTimer(portPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// openPort opens the host's end of a serial port: a socket that QEMU listens at, or a character device.
func openPort(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("opening serial port: %w", err)
	case st.Mode()&os.ModeSocket != 0:
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	case st.Mode()&os.ModeCharDevice != 0:
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	return nil, fmt.Errorf("opening serial port: %s is neither a socket nor a character device", path)
}

func (s *Service) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerDeadline, WriteTimeout: answerDeadline,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopDeadline)
		defer cancel()
		stopped <- server.Shutdown(late)
	})
	err := server.Serve(s.pcs)
	if !stop() { // ctx ended first
		return <-stopped
	}
	return fmt.Errorf("serving the provisioning service: %w", err)
}
