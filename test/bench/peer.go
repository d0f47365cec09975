// peer.go - the work of malloc_bench.c, sample_bench.c and state_bench.c on Go's own allocator and
// profiler, which libprof follows.
//
//	peer malloc SIZE|churn PAIRS       ns for each allocation, its collection included
//	peer sample DEPTH STACKS PAIRS     ns for each allocation at the end of a call chain
//	peer stacks N                      N blocks from N stacks, served by net/http/pprof
//
// PEER_RATE is runtime.MemProfileRate. The call chains are in functions.go, which the bench makes.
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"strconv"
	"time"
)

var sink []byte
var kept [][]byte
var leaf func()
var seed uint64

func init() {
	if rate, err := strconv.Atoi(os.Getenv("PEER_RATE")); err == nil {
		runtime.MemProfileRate = rate
	}
}

func random() uint32 {
	seed = seed*6364136223846793005 + 1442695040888963407
	return uint32(seed >> 33)
}

func call(depth int, s uint64) {
	seed = s*0x9e3779b97f4a7c15 + 1
	functions[random()%uint32(len(functions))](depth-1, 1, 2)
}

func number(i int) int {
	n := 0
	if len(os.Args) > i {
		n, _ = strconv.Atoi(os.Args[i])
	}
	if n < 1 {
		fmt.Fprintln(os.Stderr, "usage: see peer.go")
		os.Exit(2)
	}
	return n
}

func benchMalloc(n int) float64 {
	begin := time.Now()
	if os.Args[2] == "churn" {
		live := make([][]byte, 4096)
		size := make([]int, 1024)
		seed = 1
		for i := range size {
			log2 := 4 + random()%8
			size[i] = int(1<<log2 + random()%(1<<log2))
		}
		for i := 0; i < n; i++ {
			r := random()
			live[r%4096] = make([]byte, size[(r>>12)%1024])
		}
	} else {
		size := number(2)
		for i := 0; i < n; i++ {
			sink = make([]byte, size)
		}
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

// The time of the call chain itself is in it, so rates are to be compared.
func benchSample(depth, stacks, n int) float64 {
	leaf = func() { sink = make([]byte, 1000) }
	begin := time.Now()
	for i := 0; i < n; i++ {
		call(depth, uint64(i%stacks))
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

func serveStacks(n int) {
	leaf = func() { kept = append(kept, make([]byte, 32)) }
	kept = make([][]byte, 0, n)
	for i := 0; i < n; i++ {
		call(15, uint64(i))
	}
	runtime.GC() // only then does a profile have what came before
	runtime.GC()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(kept)
}

func main() {
	what := ""
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	switch what {
	case "malloc":
		benchMalloc(number(3)/20 + 1)
		fmt.Printf("%.3f\n", benchMalloc(number(3)))
	case "sample":
		benchSample(number(2), number(3), number(4)/10+number(3))
		fmt.Printf("%.3f\n", benchSample(number(2), number(3), number(4)))
	case "stacks":
		serveStacks(number(2))
	default:
		number(len(os.Args))
	}
}
