// A server with Go's own net/http/pprof, to run contract.py against: what the original does not
// pass is no row of the contract.
//
//	go run main.go && contract.py --go http://127.0.0.1:PORT
//
// Prints its address, then serves until its standard input ends.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime/pprof"
)

func main() {
	custom := pprof.NewProfile("my.custom")
	custom.Add(custom, 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
}
