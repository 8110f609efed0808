// NOT COMPILED HERE: it needs Android's libraries (com.google.ai.edge.litert:litert, 2.1 or newer), which this project cannot fetch.
package digits

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** What was read; [sure]: the probability is at least the threshold that the model's file states. */
data class Digit(val label: String, val probability: Float, val sure: Boolean)

/** Reads one digit at a time with model.tflite and labels.txt of the app's assets. Not for several threads at once. */
class DigitReader(context: Context, private val threshold: Float = THRESHOLD) : AutoCloseable {
    private val labels = context.assets.open("labels.txt").bufferedReader().readLines()
    private val model = CompiledModel.create(context.assets, "model.tflite", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** [ink]: a byte a pixel, row by row, 0 = paper, 255 = ink, any size; a photograph's digit must be cut out first. */
    fun read(ink: ByteArray, width: Int, height: Int): Digit {
        val probabilities = probabilities(Preparation.prepared(ink, width, height))
        val best = probabilities.indices.maxBy { probabilities[it] }
        return Digit(labels[best], probabilities[best], probabilities[best] >= threshold)
    }

    /** Of 28 × 28 bytes that are prepared already. */
    fun probabilities(prepared: ByteArray): FloatArray {
        inputs[0].writeInt8(prepared)
        model.run(inputs, outputs)
        return outputs[0].readFloat()
    }

    /** The greatest difference from what the golden vectors expect; an app's test holds it below 0.02. */
    fun difference(vectors: List<Vector>): Float = vectors.maxOf { vector ->
        val found = probabilities(vector.prepared)
        found.indices.maxOf { kotlin.math.abs(found[it] - vector.probabilities[it]) }
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }

    companion object {
        const val THRESHOLD = @THRESHOLD@f
    }
}
