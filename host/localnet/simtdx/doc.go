// Package simtdx runs software TDX as a service for the machines of a local network: the platform of one TD, reached by
// its guest over a socket or a serial port, and the provisioning service of that platform over HTTP (attestation.md
// section 16.2).
//
// It owns the listeners, their sessions and the reading of predictions; what is served is measure/measuretest. It
// trusts whoever configures it, and serves whoever connects: nothing it gives out is evidence, and its root certificate
// is accepted only where a configuration names it. A Service runs once; Run returns when its context ends and every
// session is over. It refuses to start without a seed and to pass for real TDX: every form of its description says
// that it is simulated.
package simtdx
