package ratls_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// A client and a server without attestation: both policies admit anybody. With an IdentityConfig.Quoter, a verifier and
// collateral for the judge, and a policy of type tdx, the same code makes attested connections.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Now: time.Now})
	check(err)
	identity, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now}) // Run renews its certificates
	check(err)
	check(identity.Refresh(ctx))
	end := ratls.Endpoint{
		Credentials: identity, Judge: judge, Terms: ratls.Fixed(ratls.Terms{Policy: policy.Builtin(policy.Any)}),
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := &ratls.Server{Endpoint: end, PoW: pow.Schedule{Base: 8}}
	check(server.Validate())
	served := make(chan error)
	serving, stop := context.WithCancel(ctx)
	go func() {
		served <- server.Serve(serving, l, func(_ context.Context, c *ratls.Conn) {
			_, _ = fmt.Fprintf(c, "attested: %t, profile v%d", c.Peer.Report != nil, c.Peer.Profile)
		})
	}()

	dialer := &ratls.Dialer{Endpoint: end}
	conn, err := dialer.Dial(ctx, l.Addr().String())
	check(err)
	text, err := io.ReadAll(conn)
	check(err)
	fmt.Println(string(text))
	check(conn.Close())
	stop()
	check(<-served)
	// Output: attested: false, profile v1
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
