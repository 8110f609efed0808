package digits

import java.io.File
import kotlin.system.exitProcess

/** One golden vector, a line of vectors.txt: `WIDTH HEIGHT PICTURE PREPARED [PROBABILITIES]`, pixels in hexadecimal. */
class Vector(line: String) {
    private val words = line.split(" ")
    val width = words[0].toInt()
    val height = words[1].toInt()
    val picture = pixels(words[2])
    val prepared = pixels(words[3])
    val probabilities = if (words.size > 4) words[4].split(",").map { it.toFloat() } else emptyList()

    private fun pixels(text: String) = ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
}

/** The lines, from 1, whose picture is not prepared to the very bytes that are expected. */
fun wrong(vectors: List<Vector>): List<Int> =
    vectors.indices.filter { !Preparation.prepared(vectors[it].picture, vectors[it].width, vectors[it].height).contentEquals(vectors[it].prepared) }
        .map { it + 1 }

/** Checks the preparation on a computer: `java -cp check.jar digits.CheckVectorsKt vectors.txt`. In an app, call [wrong] in a test. */
fun main(arguments: Array<String>) {
    val vectors = File(arguments[0]).readLines().map(::Vector)
    val wrong = wrong(vectors)
    println("${vectors.size - wrong.size} of ${vectors.size} pictures are prepared to the expected bytes")
    if (wrong.isNotEmpty() || vectors.isEmpty()) {
        println("wrong: line ${wrong.joinToString()}")
        exitProcess(1)
    }
}
