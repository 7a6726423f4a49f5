// Package network runs a whole network on one machine: simulated TDX, collateral, a proxy, a worker with its engine, and
// the gateway that apps talk to.
//
// It owns the wiring, the files of the roles and the order in which things start and end. The guest's roles are child
// processes of the guest binary: the host never imports the guest, they run as in an image, and one of them can be killed
// to see what happens. Simulated TDX, collateral and the gateway are in this process. Everything is attested by a platform
// whose keys follow from a random seed, so its evidence is worth nothing to anybody else; payments are counted in memory.
// A Network is for one goroutine; its parts have ended when Run returns. It refuses an engine that it cannot start instead
// of putting scripted answers in its place.
package network
