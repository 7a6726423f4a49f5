package lite

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/xssnick/tonutils-go/liteclient"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
)

// endpoint is one liteserver with its connection, which is made when it is needed.
type endpoint struct {
	server  Server
	timeout time.Duration

	mu     sync.Mutex
	conn   *connection
	closed bool
}

// connection is a pool of one connection. The pool does not tell queries under way that the connection is gone, so they
// would wait for their deadlines: gone is closed then.
type connection struct {
	*liteclient.ConnectionPool
	gone chan struct{}
}

// errGone ends queries on a connection that the server has closed.
var errGone = errors.New("the server closed the connection")

func newEndpoint(s Server, timeout time.Duration) *endpoint {
	return &endpoint{server: s, timeout: timeout}
}

// session is an endpoint's connection during one operation.
type session struct {
	api *ton.APIClient
}

// do runs an operation with a deadline. A connection that died is made again once.
func (e *endpoint) do(ctx context.Context, f func(context.Context, *session) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	for again := true; ; again = false {
		conn, fresh, err := e.connect(ctx)
		if err != nil {
			return err
		}
		if err = conn.run(ctx, f); err == nil || !broken(err) {
			return classify(err)
		}
		e.drop(conn)
		if fresh || !again || ctx.Err() != nil {
			return classify(err)
		}
	}
}

// run runs an operation until the connection is gone.
func (c *connection) run(ctx context.Context, f func(context.Context, *session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	defer func() { cancel(nil); <-done }()
	go func() {
		defer close(done)
		select {
		case <-c.gone:
			cancel(errGone)
		case <-ctx.Done():
		}
	}()
	err := guard(func() error {
		return f(ctx, &session{api: ton.NewAPIClient(c.ConnectionPool, ton.ProofCheckPolicySecure)})
	})
	if err != nil && errors.Is(context.Cause(ctx), errGone) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// broken tells whether an error belongs to the connection.
func broken(err error) bool {
	var network liteclient.NetworkErr
	return errors.As(err, &network) || errors.Is(err, liteclient.ErrNoActiveConnections) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, liteclient.ErrStopped) || errors.Is(err, errGone) || errors.Is(err, liteclient.ErrADNLReqTimeout)
}

// connect returns the endpoint's connection and whether it was made just now.
func (e *endpoint) connect(ctx context.Context) (*connection, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, false, errClosed
	}
	if e.conn != nil {
		return e.conn, false, nil
	}
	pool := &connection{ConnectionPool: liteclient.NewConnectionPool(), gone: make(chan struct{})}
	pool.SetOnDisconnect(func(string, string) { close(pool.gone) }) // the library's own would try again for ever
	if err := pool.AddConnection(ctx, e.server.Addr.String(), base64.StdEncoding.EncodeToString(e.server.Key)); err != nil {
		pool.Stop()
		return nil, false, fmt.Errorf("connecting: %w: %w", chain.ErrUnavailable, err)
	}
	e.conn = pool
	return pool, true, nil
}

func (e *endpoint) drop(c *connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == c {
		e.conn = nil
	}
	c.Stop()
}

func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.conn != nil {
		e.conn.Stop()
		e.conn = nil
	}
}

// guard turns a panic on what a server sent into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: reading the answer panicked: %v", chain.ErrProof, p)
		}
	}()
	return f()
}

// codes are the liteserver's errors that callers branch on.
var codes = map[int32]error{ //nolint:gochecknoglobals // a table
	651:  chain.ErrUnknownBlock,
	652:  chain.ErrUnknownBlock,
	-400: chain.ErrMissing,
	228:  chain.ErrBusy,
	429:  chain.ErrBusy,
}

// classify gives an error the sentinel that callers look for, unless it has one.
func classify(err error) error {
	var ls ton.LSError
	var busy liteclient.ServerBusy
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ls):
		if known, ok := codes[ls.Code]; ok && !errors.Is(err, known) {
			return fmt.Errorf("%w: %w", known, err)
		}
	case errors.As(err, &busy):
		return fmt.Errorf("%w: %w", chain.ErrUnavailable, err)
	case broken(err):
		return fmt.Errorf("%w: %w", chain.ErrUnavailable, err)
	}
	return err
}

// query asks and returns the answer of the wanted type; errors of the server are errors.
func query[A any](ctx context.Context, s *session, q tl.Serializable) (A, error) {
	var zero A
	var resp tl.Serializable
	if err := s.api.Client().QueryLiteserver(ctx, q, &resp); err != nil {
		return zero, err
	}
	switch a := resp.(type) {
	case A:
		return a, nil
	case ton.LSError:
		return zero, a
	default:
		return zero, fmt.Errorf("%w: answer of type %T to %T", chain.ErrProof, resp, q)
	}
}

// proofError marks an error of the library's proof checks, which is none of the connection's or the server's own.
func proofError(err error) error {
	var ls ton.LSError
	if err == nil || errors.As(err, &ls) || broken(err) || errors.Is(err, chain.ErrProof) {
		return err
	}
	return fmt.Errorf("%w: %w", chain.ErrProof, err)
}

// header is a block's proven header.
func (s *session) header(ctx context.Context, id *ton.BlockIDExt) (*tlb.BlockHeader, error) {
	h, err := s.api.GetBlockHeader(ctx, id)
	if err != nil {
		return nil, proofError(err)
	}
	if h.SeqNo != id.SeqNo || h.Shard.WorkchainID != id.Workchain {
		return nil, fmt.Errorf("%w: the header is block %d of workchain %d, want %d of %d", chain.ErrProof, h.SeqNo, h.Shard.WorkchainID, id.SeqNo, id.Workchain)
	}
	return h, nil
}

// follows proves that a chain leads from one masterchain block to another, forward by signatures or back by the
// newer one's state.
func (s *session) follows(ctx context.Context, from, to *ton.BlockIDExt) error {
	if from.Equals(to) {
		return nil
	}
	return proofError(s.api.VerifyProofChain(ctx, from, to))
}

// lookup asks for the id of a masterchain block; the answer is the server's claim.
func (s *session) lookup(ctx context.Context, seqno uint32) (*ton.BlockIDExt, error) {
	id, err := s.api.LookupBlock(ctx, masterchain, shard, seqno)
	if errors.Is(err, ton.ErrBlockNotFound) {
		return nil, fmt.Errorf("looking block %d up: %w", seqno, chain.ErrUnknownBlock)
	}
	if err != nil {
		return nil, fmt.Errorf("looking block %d up: %w", seqno, err)
	}
	return id, checkID(id, seqno)
}

// The masterchain and its only shard.
const (
	masterchain = int32(-1)
	shard       = int64(-0x8000000000000000)
)

// checkID refuses ids that name no masterchain block.
func checkID(id *ton.BlockIDExt, seqno uint32) error {
	if id == nil || id.Workchain != masterchain || id.Shard != shard || id.SeqNo != seqno ||
		len(id.RootHash) != len(chain.Hash{}) || len(id.FileHash) != len(chain.Hash{}) {
		return fmt.Errorf("%w: the server names %+v as masterchain block %d", chain.ErrProof, id, seqno)
	}
	return nil
}
