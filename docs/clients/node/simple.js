// A simple client: it sends one text and prints what comes back, until Ctrl-C.
//
// npm install
// node simple.js [URL]      without it the URL is that of WPS_CLIENT_URL

const WebSocket = require('ws')

const url = process.argv[2] || process.env.WPS_CLIENT_URL
if (!url) {
  console.error('usage: node simple.js [URL], or the URL in WPS_CLIENT_URL')
  process.exit(2)
}

const socket = new WebSocket(url) // no subprotocol: frames are messages, and there are no others
socket.on('open', () => socket.send('hello from Node'))
socket.on('message', (frame) => console.log(frame.toString()))
socket.on('error', (error) => console.error(error.message))
socket.on('close', (code) => console.error(`closed ${code}`))

process.on('SIGINT', () => socket.close(1000))
