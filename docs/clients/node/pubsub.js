// A PubSub client: it joins a group, says hello to it and prints each frame, until Ctrl-C.
//
// npm install
// node pubsub.js [URL] [GROUP]      without URL, or with '', it is that of WPS_CLIENT_URL

const WebSocket = require('ws')

const url = process.argv[2] || process.env.WPS_CLIENT_URL
const group = process.argv[3] || 'room-0'
if (!url) {
  console.error('usage: node pubsub.js [URL] [GROUP], or the URL in WPS_CLIENT_URL')
  process.exit(2)
}

const socket = new WebSocket(url, 'json.webpubsub.azure.v1')
const ask = (request) => socket.send(JSON.stringify({ ...request, group }))

socket.on('open', () => ask({ type: 'joinGroup', ackId: 1 }))
socket.on('message', (frame) => {
  console.log(frame.toString())
  const message = JSON.parse(frame)
  // Only after the ack: until then nobody knows whether the group may be joined.
  if (message.type === 'ack' && message.ackId === 1 && message.success) {
    ask({ type: 'sendToGroup', dataType: 'text', data: 'hello from Node', ackId: 2 })
  }
})
socket.on('error', (error) => console.error(error.message))
socket.on('close', (code) => console.error(`closed ${code}`))

process.on('SIGINT', () => socket.close(1000))
