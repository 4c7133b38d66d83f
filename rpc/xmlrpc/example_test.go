package xmlrpc_test

import (
	"errors"
	"fmt"

	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

// Example is one call, as its two sides see it.
func Example() {
	doc, err := xmlrpc.AppendCall(nil, "echo", []any{"é <", int64(7), nil, ordered.Struct{{Name: "key", Value: true}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	call, err := xmlrpc.DecodeCall(doc)
	fmt.Println(call.Method, call.Params, err)

	doc, err = xmlrpc.AppendResponse(nil, call.Params[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(xmlrpc.DecodeResponse(doc))

	_, err = xmlrpc.DecodeResponse(xmlrpc.AppendFault(nil, 8002, "error"))
	var fault *xmlrpc.FaultError
	if errors.As(err, &fault) {
		fmt.Println(fault.Code, fault.String)
	}
	// Output:
	// echo [é < 7 <nil> [{key true}]] <nil>
	// é < <nil>
	// 8002 error
}
