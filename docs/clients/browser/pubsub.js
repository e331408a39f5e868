// A PubSub client: it joins a group, says hello to it and shows each frame.

function connectPubSub (url, group, show) {
  const socket = new WebSocket(url, 'json.webpubsub.azure.v1')
  let ackId = 0
  const ask = (request) => socket.send(JSON.stringify({ ...request, group, ackId: ++ackId }))
  const say = (text) => ask({ type: 'sendToGroup', dataType: 'text', data: text })

  socket.onopen = () => ask({ type: 'joinGroup' })
  socket.onmessage = ({ data }) => {
    show(data)
    const message = JSON.parse(data)
    // Only after the ack: until then nobody knows whether the group may be joined.
    if (message.type === 'ack' && message.ackId === 1 && message.success) {
      say('hello from the browser')
    }
  }
  socket.onclose = ({ code }) => show(`closed ${code}`)
  return { say, close: () => socket.close(1000) }
}
