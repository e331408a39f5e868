// A closed loop with Node's `ws`: node node_client.mjs WS_MODULE CONNECTIONS PAYLOAD_BYTES
// BENCH_URL is the client URL.
// SIGTERM ends it: it prints how many acks it got as one line of JSON.

import { pathToFileURL } from 'node:url'

const [module, connections, payloadBytes] = process.argv.slice(2)
const url = process.env.BENCH_URL
const { default: WebSocket } = await import(pathToFileURL(module))

const data = 'x'.repeat(Number(payloadBytes))
let acks = 0
let failures = 0

function run(number) {
  const socket = new WebSocket(url, 'json.webpubsub.azure.v1', { perMessageDeflate: false })
  const group = `room-${number}`
  let ackId = 0
  const request = (fields) => socket.send(JSON.stringify({ ...fields, group, ackId: ++ackId }))
  socket.on('message', (text) => {
    const message = JSON.parse(text)
    if (message.type === 'system') {
      request({ type: 'joinGroup' })
      return
    }
    if (!message.success || message.ackId !== ackId) failures++
    if (ackId > 1) acks++
    request({ type: 'sendToGroup', noEcho: true, dataType: 'text', data })
  })
}

process.on('SIGTERM', () => {
  console.log(JSON.stringify({ acks, failures }))
  process.exit()
})
for (let number = 0; number < Number(connections); number++) run(number)
